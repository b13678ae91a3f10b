//! Streams while a publisher pushes as fast as it can: from history to live and back, and beside
//! one another.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use carafe_client::{EventSource, ReceivedEvent};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::http::{Stream, publish, request};
use crate::process::{PATIENCE, Server, seed};

const CLIENTS: u64 = 200;

/// Events of the run, in batches of [`BATCH`].
const EVENTS: usize = 4000;

const BATCH: usize = 25;

fn batch(topic: &str, numbers: std::ops::Range<usize>) -> String {
    let line = |number| {
        format!("{{\"topic\":\"{topic}\",\"data\":\"{number} {}\"}}\n", "x".repeat(number % 300))
    };
    numbers.map(line).collect()
}

fn publish_batch(address: SocketAddr, batch: &str) {
    let ndjson = ["Content-Type: application/x-ndjson"];
    let answer = request(address, "POST", "/events", &ndjson, batch.as_bytes());
    assert_eq!(answer.status, 201, "{}", answer.body);
}

/// The ring holds few events, so that subscribers that lag or begin with history read the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_history_and_live_there_is_no_gap_double_or_disorder() {
    let seed = seed();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let hub =
        Server::on_disk(&log, &["--ring-bytes", "64KiB", "--heartbeat", "20ms", "--shards", "2"]);
    let address = hub.address;
    let joins = Arc::new(AtomicUsize::new(0));
    let clients: JoinSet<_> = (0..CLIENTS)
        .map(|number| read_all(address, StdRng::seed_from_u64(seed ^ number), Arc::clone(&joins)))
        .collect();
    let publisher = tokio::task::spawn_blocking(move || {
        for first in (0..EVENTS).step_by(BATCH) {
            publish_batch(address, &batch("a", first..first + BATCH));
        }
    });
    publisher.await.unwrap();
    timeout(4 * PATIENCE, clients.join_all()).await.unwrap();
    println!("{CLIENTS} clients joined {} times", joins.load(Ordering::Relaxed));
}

/// Joins, lags and leaves at random until it has seen the last event. Whenever it leaves, it
/// resumes, or begins anew.
async fn read_all(address: SocketAddr, mut random: StdRng, joins: Arc<AtomicUsize>) {
    let mut resumes_after: Option<(String, usize)> = None;
    loop {
        sleep(Duration::from_millis(random.random_range(0..300))).await;
        joins.fetch_add(1, Ordering::Relaxed);
        let options = EventSource::options(format!("http://{address}/events/a?earliest"));
        let (mut events, mut next) = match &resumes_after {
            Some((id, next)) => (options.last_event_id(id).connect(), *next),
            None => (options.connect(), 0),
        };
        let stays = random.random_range(1..EVENTS);
        for _ in 0..stays {
            let event = events.next().await.unwrap().unwrap();
            if !is_number(&event, next) {
                continue;
            }
            next += 1;
            if next == EVENTS {
                return;
            }
            if random.random_ratio(1, 400) {
                sleep(Duration::from_millis(random.random_range(1..200))).await;
            }
            resumes_after = Some((event.last_event_id, next));
        }
        if random.random_ratio(1, 4) {
            resumes_after = None;
        }
    }
}

/// Whether it is a publisher's event: then it must be this one.
#[track_caller]
fn is_number(event: &ReceivedEvent, number: usize) -> bool {
    if event.event_type == "carafe.position" {
        return false;
    }
    assert_eq!(event.event_type, "message", "no gap: {}", event.data);
    let (found, rest) = event.data.split_once(' ').unwrap();
    assert_eq!(found, number.to_string(), "lost, doubled or out of order");
    assert_eq!(rest.len(), number % 300, "not whole");
    true
}

/// The shard never runs out of work here: whatever had to wait until it does would never come.
#[test]
fn a_new_subscriber_is_served_while_others_are_sent_events_without_end() {
    let hub = Server::start(&["--shards", "1", "--heartbeat", "100ms"]);
    let address = hub.address;
    let busy: Vec<_> = (0..500).map(|_| Stream::open(address, "/events/busy", &[])).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let threads = [publish_on(address, Arc::clone(&stop)), read_on(busy, Arc::clone(&stop))];
    for number in 0..20 {
        let mut comes = Stream::open(address, "/events/comes", &[]);
        assert_eq!(comes.next().unwrap().event_type, "carafe.position");
        let id = publish(address, "/events/comes", &number.to_string());
        let event = comes.next_published();
        assert_eq!((event.last_event_id, event.data), (id, number.to_string()));
        // Events of other topics move its position, which is sent in place of a heartbeat.
        assert_eq!(comes.next().unwrap().event_type, "carafe.position");
    }
    stop.store(true, Ordering::Relaxed);
    let [published, read] = threads.map(|thread| thread.join().unwrap());
    assert!(published > 0 && read > published, "{read} of {published} events for 500 were read");
}

/// Publishes until it is stopped, and answers how many events that were.
fn publish_on(address: SocketAddr, stop: Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        let mut published = 0;
        while !stop.load(Ordering::Relaxed) {
            publish_batch(address, &batch("busy", published..published + BATCH));
            published += BATCH;
        }
        published
    })
}

/// Reads all streams in turn until it is stopped, and returns the number of events.
fn read_on(mut streams: Vec<Stream>, stop: Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    thread::spawn(move || {
        streams.iter().for_each(|stream| stream.socket().set_nonblocking(true).unwrap());
        let mut read = 0;
        while !stop.load(Ordering::Relaxed) {
            for stream in &mut streams {
                while stream.read_some(64 << 10).is_ok() {}
                read += std::iter::from_fn(|| stream.next_read()).count();
            }
        }
        read
    })
}

/// Subscribers of many topics, of patterns and of everything, each checked against what was
/// published.
#[test]
fn subscribers_of_many_kinds_get_each_its_own_in_order() {
    let hub = Server::start(&["--ring-bytes", "64KiB"]);
    let address = hub.address;
    let wanted = |stream: usize, topic: usize| match stream % 4 {
        0 => topic == stream % 10,
        1 => topic == stream % 10 || topic == (stream + 3) % 10,
        2 => topic.is_multiple_of(2),
        _ => true,
    };
    let target = |stream: usize| match stream % 4 {
        0 => format!("/events/t/{}", stream % 10),
        1 => format!("/events?topic=t/{}&topic=t/{}", stream % 10, (stream + 3) % 10),
        2 => "/events?pattern=t/0&pattern=t/2&pattern=t/4&pattern=t/6&pattern=t/8".into(),
        _ => "/events?pattern=t/*".into(),
    };
    let mut streams: Vec<_> =
        (0..80).map(|stream| Stream::open(address, &target(stream), &[])).collect();
    let published: Vec<_> =
        (0..600_usize).map(|number| (number * 7 % 10, number.to_string())).collect();
    for (topic, data) in &published {
        publish(address, &format!("/events/t/{topic}"), data);
    }
    let mut kinds = HashSet::new();
    for (number, stream) in streams.iter_mut().enumerate() {
        let mine = published.iter().filter(|(topic, _)| wanted(number, *topic));
        let expected: Vec<_> = mine.map(|(_, data)| data.clone()).collect();
        assert!(stream.data(expected.len()) == expected, "{}", target(number));
        kinds.insert(expected.len());
    }
    assert!(kinds.len() > 3);
}
