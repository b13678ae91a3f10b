//! The Rust client over a real hub: kills, feeds, HTTP/2.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use carafe_client::{
    Connections, Control, EndReason, EventSource, Feed, FeedError, FeedEvent, FileStore, Item,
    Outcome, Publish, Publisher, State,
};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::certificate::Certificate;
use crate::process::{PATIENCE, Server, from_env, own_address};

/// The size of the test, which `CARAFE_TEST_KILLS`, `…_PUBLISHERS` and `…_READERS` change. The aim
/// is 100 kills, 50 publishers and 50 readers.
const KILLS: usize = 4;
const PUBLISHERS: usize = 6;
const READERS: usize = 6;

/// Every third publisher feeds its topic over a request that stays open.
const FEEDS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_while_the_hub_is_killed_under_publishers_and_readers() {
    let kills = from_env("CARAFE_TEST_KILLS", KILLS);
    let publishers = from_env("CARAFE_TEST_PUBLISHERS", PUBLISHERS);
    let readers = from_env("CARAFE_TEST_READERS", READERS);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let start = |address| {
        Server::on_disk_at(address, &log, &["--retry", "50ms", "--segment-bytes", "256KiB"])
    };
    let mut hub = start(own_address());
    let (address, begun) = (hub.address, Instant::now());
    let stop = Arc::new(AtomicBool::new(false));
    // About 400 events a second, of however many publishers.
    let pace = Duration::from_millis(publishers as u64);
    let publishing: JoinSet<_> = (0..publishers)
        .map(|number| publish_until(address, number, pace, Arc::clone(&stop)))
        .collect();
    let reading: JoinSet<_> = (0..readers)
        .map(|number| read(address, number, publishers, folder.path().into()))
        .collect();
    for _ in 0..kills {
        sleep(Duration::from_millis(rand::random_range(50..600))).await;
        hub.kill();
        hub = start(address);
    }
    stop.store(true, Ordering::Relaxed);
    let published: HashMap<String, u64> = publishing.join_all().await.into_iter().collect();
    let complete = timeout(2 * PATIENCE, reading.join_all()).await;
    let received = complete.expect("a reader has not received everything");
    let wanted: u64 = published.values().sum();
    for counts in &received {
        assert_eq!(*counts, published);
    }
    println!(
        "{kills} kills in {} s: {wanted} events of {publishers} publishers, {} readers: 0 lost, 0 \
         doubled, 0 out of order",
        begun.elapsed().as_secs(),
        received.len()
    );
}

/// Publishes 1, 2, 3 and so on, and then the end of its topic. Returns how many events those were.
async fn publish_until(
    address: SocketAddr,
    number: usize,
    pace: Duration,
    stop: Arc<AtomicBool>,
) -> (String, u64) {
    let topic = format!("publisher/{number}");
    let hub = Publisher::new(format!("http://{address}")).with_timeout(Duration::MAX);
    let mut count = 0;
    if number.is_multiple_of(FEEDS) {
        // Small, so that it is full now and then.
        let mut feed = hub.feed(&*topic).with_backlog(4000);
        while !stop.load(Ordering::Relaxed) {
            count += 1;
            feed.send(count.to_string()).await.unwrap();
            sleep(2 * pace).await;
        }
        assert_eq!(feed.end(Outcome::Done).await.unwrap().events, count);
        return (topic, count);
    }
    while !stop.load(Ordering::Relaxed) {
        let batch: Vec<_> = (1..=1 + count % 3)
            .map(|more| Publish::to(&*topic, (count + more).to_string()))
            .collect();
        hub.publish_all(&batch).await.unwrap();
        count += batch.len() as u64;
        sleep(6 * pace).await;
    }
    hub.end(&topic, Outcome::Done, "").await.unwrap();
    (topic, count)
}

#[derive(serde::Deserialize)]
struct Envelope {
    topic: String,
    data: String,
}

/// Reads all topics until each has ended, in several runs that share nothing but a file. Returns
/// how many events each topic has had.
async fn read(
    address: SocketAddr,
    number: usize,
    topics: usize,
    folder: std::path::PathBuf,
) -> HashMap<String, u64> {
    let (mut counts, mut ended) = (HashMap::new(), 0);
    while ended < topics {
        let store = FileStore::new(folder.join(format!("reader-{number}")));
        let url = format!("http://{address}/events?pattern=publisher/*&earliest&envelope=json");
        let mut source =
            EventSource::options(url).retry(Duration::from_millis(50)).store(store).connect();
        for _ in 0..rand::random_range(1..500) {
            match source.next_item().await.expect("a pattern does not end").unwrap() {
                Item::Event(event) => {
                    let Envelope { topic, data } = serde_json::from_str(&event.data).unwrap();
                    let count = counts.entry(topic).or_insert(0_u64);
                    *count += 1;
                    assert_eq!(data, count.to_string(), "lost, doubled or out of order");
                }
                Item::Control(Control::End(_)) => ended += 1,
                Item::Control(Control::Gap(gap)) => panic!("history is there: {gap:?}"),
                Item::Control(_) => {}
            }
            if ended == topics {
                break;
            }
        }
        // The run ends in order, so nothing arrives again in the next one.
        source.save().await.unwrap();
    }
    counts
}

#[tokio::test]
async fn readers_have_each_event_of_a_feed_before_the_next_and_its_end() {
    let hub = Server::dev();
    let mut answer = Publisher::new(hub.url("")).feed("chat/7");
    let mut source = EventSource::new(hub.url("/events/chat/7?earliest"));
    for word in ["one", "flat", "white"] {
        answer.send(FeedEvent::new(word).with_type("word")).await.unwrap();
        let event = source.next().await.unwrap().unwrap();
        assert_eq!((&*event.event_type, &*event.data), ("word", word));
    }
    let fed = answer.end_with(Outcome::Done, "in time").await.unwrap();
    assert_eq!(fed.events, 3);
    let Item::Control(Control::End(end)) = source.next_item().await.unwrap().unwrap() else {
        panic!("no end")
    };
    assert_eq!((&*end.outcome, end.reason.as_deref()), ("done", Some("in time")));
    assert_eq!(Some(end.position), fed.position);
    assert!(source.next().await.is_none());
    assert!(matches!(source.state(), State::Ended(EndReason::Done)));
}

#[tokio::test]
async fn the_stop_button_of_a_reader_stops_a_feed_and_its_words_are_stored() {
    let hub = Server::dev();
    let publisher = Publisher::new(hub.url(""));
    let mut answer = publisher.feed("chat/7");
    answer.send("one").await.unwrap();
    answer.flush().await.unwrap();
    crate::http::post(hub.address, "/events/chat/7?stop&reason=enough", "");
    // This request is ended at once; what it had to send is stored nevertheless.
    answer.send("two").await.unwrap();
    let FeedError::Stopped(stop) = answer.stopped().await else { panic!("it has failed") };
    assert_eq!((&*stop.topic, stop.reason.as_deref()), ("chat/7", Some("enough")));
    assert_eq!(answer.end(Outcome::Cancelled).await.unwrap().events, 2);
    let state = publisher.topic_state("chat/7").await.unwrap();
    assert!(state.last_key.is_some() && state.position.is_some(), "{state:?}");
    let late = publisher.feed("chat/7");
    let error = send_and_finish(late).await.unwrap_err();
    assert!(error.to_string().contains("409"), "{error}");
}

async fn send_and_finish(mut feed: Feed) -> Result<(), FeedError> {
    feed.send("late").await?;
    feed.finish().await.map(drop)
}

#[tokio::test]
async fn two_feeds_of_a_topic_are_both_stored_in_their_order() {
    let hub = Server::dev();
    let publisher = Publisher::new(hub.url(""));
    let feeds: JoinSet<_> = ["a", "b"]
        .into_iter()
        .map(|name| {
            let mut feed = publisher.feed("shared").with_backlog(5000);
            async move {
                for number in 0..500 {
                    feed.send(format!("{name}{number}")).await.unwrap();
                }
                feed.finish().await.unwrap().events
            }
        })
        .collect();
    assert_eq!(timeout(PATIENCE, feeds.join_all()).await.unwrap(), [500, 500]);
    let mut source = EventSource::new(hub.url("/events/shared?earliest"));
    let mut next = HashMap::from([('a', 0), ('b', 0)]);
    for _ in 0..1000 {
        let data = source.next().await.unwrap().unwrap().data;
        let (name, number) = data.split_at(1);
        let next = next.get_mut(&name.chars().next().unwrap()).unwrap();
        assert_eq!(number, next.to_string());
        *next += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_sources_publishers_and_feeds_share_one_http_2_connection() {
    let certificate = Certificate::new();
    let shown = certificate.options();
    let shown: Vec<_> = shown.iter().map(String::as_str).collect();
    let (hub, metrics) =
        Server::with_metrics(&[&shown[..], &["--connections-per-address", "1"]].concat());
    let url = format!("https://{}", hub.address);
    let roots = fs::read(certificate.path()).unwrap();
    let connections = Connections::with_roots(&roots).unwrap();
    let publisher = Publisher::new(&*url).with_connections(&connections);
    let mut sources = Vec::new();
    for _ in 0..3 {
        let options = EventSource::options(format!("{url}/events/orders"));
        let mut source = options.connections(&connections).connect();
        let position = source.next_item().await.unwrap().unwrap();
        assert!(matches!(position, Item::Control(Control::Position(_))), "{position:?}");
        sources.push(source);
    }
    publisher.publish(&Publish::to("orders", "one")).await.unwrap();
    let mut feed = publisher.feed("orders");
    feed.send("two").await.unwrap();
    for source in &mut sources {
        for data in ["one", "two"] {
            assert_eq!(source.next().await.unwrap().unwrap().data, data);
        }
    }
    feed.finish().await.unwrap();
    assert_eq!(metrics.get("carafe_streams{path=\"hyper\",reason=\"http2\"}"), 3.0);
    assert_eq!(metrics.limited("connections-per-address"), 0.0);
    drop(sources);
    metrics.wait_for("carafe_streams{path=\"hyper\",reason=\"http2\"}", 0.0);
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_a_reason() {
    let certificate = Certificate::new();
    let shown = certificate.options();
    let shown: Vec<_> = shown.iter().map(String::as_str).collect();
    let hub = Server::start(&shown);
    let url = format!("https://{}/events/orders", hub.address);
    let mut source = EventSource::options(url).first_must_succeed().connect();
    let error = source.next().await.unwrap().unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    assert!(Connections::with_roots(b"-----BEGIN CERTIFICATE-----\n!!!\n").is_err());
}
