//! Many topics are fed at once over ingest requests, readers come and go, and the hub is killed:
//! every text is complete at every reader.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use carafe_client::EventSource;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::process::{Server, from_env};

/// The size of the test, which `CARAFE_TEST_TOPICS`, `…_EVENTS` and `…_KILLS` change. The aim is
/// 1,000 topics, 3,000 events of each, and two kills.
const TOPICS: usize = 40;
const EVENTS: usize = 100;
const KILLS: usize = 2;
const READERS_OF_A_TOPIC: usize = 2;
/// Events of a topic in a second.
const RATE: u64 = 50;
/// A producer that comes back sends so many events again.
const OVERLAP: usize = 3;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_text_is_complete_at_every_reader_though_the_hub_is_killed() {
    let topics = from_env("CARAFE_TEST_TOPICS", TOPICS);
    let events = from_env("CARAFE_TEST_EVENTS", EVENTS);
    let kills = from_env("CARAFE_TEST_KILLS", KILLS);
    let folder = tempfile::tempdir().unwrap();
    let start = |address| {
        let options = ["--retry", "50ms", "--subscribers-per-address", "10000"];
        Server::on_disk_at(address, folder.path(), &options)
    };
    let mut hub = start("127.0.0.1:0".parse().unwrap());
    let (address, begun) = (hub.address, Instant::now());
    let producers: JoinSet<_> = (0..topics).map(|topic| produce(address, topic, events)).collect();
    let readers: JoinSet<_> = (0..topics * READERS_OF_A_TOPIC)
        .map(|reader| read(address, reader % topics, events))
        .collect();
    let time = Duration::from_millis(events as u64 * 1000 / RATE);
    for _ in 0..kills {
        sleep(time / (kills as u32 + 1)).await;
        hub.kill();
        hub = start(address);
    }
    let complete = async { (producers.join_all().await, readers.join_all().await) };
    let (requests, sessions) = timeout(PATIENCE + 2 * time, complete).await.expect("not complete");
    println!(
        "{topics} topics of {events} events at {RATE} a second each, {kills} kills, {} requests, \
         {} readers in {} sessions, {:.1} s: all texts complete",
        requests.iter().sum::<usize>(),
        sessions.len(),
        sessions.iter().sum::<usize>(),
        begun.elapsed().as_secs_f32()
    );
    assert!(requests.iter().sum::<usize>() >= topics, "each has sent something");
}

/// Feeds a topic until the hub has all of it. Returns how many requests that took.
async fn produce(address: SocketAddr, topic: usize, events: usize) -> usize {
    let mut requests = 0;
    loop {
        match last_key(address, topic).await {
            Ok(key) if key == events => return requests,
            Ok(key) => {
                requests += 1;
                // What fails is sent again.
                let _ = feed(address, topic, key.saturating_sub(OVERLAP) + 1..=events).await;
            }
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn last_key(address: SocketAddr, topic: usize) -> io::Result<usize> {
    let mut socket = TcpStream::connect(address).await?;
    let head =
        format!("HEAD /events/text/{topic} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    if !answer.starts_with("HTTP/1.1 200 ") {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let key = answer.lines().find_map(|line| line.strip_prefix("carafe-last-key: "));
    Ok(key.map_or(0, |key| key.parse().unwrap()))
}

async fn feed(
    address: SocketAddr,
    topic: usize,
    numbers: std::ops::RangeInclusive<usize>,
) -> io::Result<()> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let head = format!(
        "POST /events/text/{topic} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\
         Content-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await?;
    let mut ticks = interval(Duration::from_millis(1000 / RATE));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in numbers {
        ticks.tick().await;
        let event = format!("id: {number}\ndata: {number}\n\n");
        socket.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?;
    }
    socket.write_all(b"0\r\n\r\n").await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(())
}

/// Reads a topic in several sessions, each of which goes on where the one before has left. Returns
/// how many those were.
async fn read(address: SocketAddr, topic: usize, events: usize) -> usize {
    let url = format!("http://{address}/events/text/{topic}?earliest");
    let (mut received, mut id, mut sessions) = (0, String::new(), 0);
    while received < events {
        sessions += 1;
        let session = received + rand::random_range(1..=events);
        let options = EventSource::options(url.clone()).retry(Duration::from_millis(50));
        let mut stream = options.last_event_id(id.clone()).connect();
        while received < session.min(events) {
            let event = stream.next().await.expect("the topic does not end").unwrap();
            if event.event_type == "carafe.position" {
                continue;
            }
            received += 1;
            let got = (&*event.event_type, event.data.parse());
            assert_eq!(got, ("message", Ok(received)), "lost, doubled or out of order");
            id = event.last_event_id;
        }
        sleep(Duration::from_millis(rand::random_range(0..200))).await;
    }
    sessions
}
