//! The program is killed at random moments under load, and started again: nothing that was
//! acknowledged is lost, repeated or reordered.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use carafe_client::{Control, EventSource, Item, Publish, Publisher, ReceivedEvent};
use carafe_protocol::Position;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::ending_topics::{ENDING, FEWEST, SECRET, end_topics};
use crate::erased_topics::{ERASED, ERASING, erase_topics};
use crate::erasure::{has, verify};
use crate::process::{Server, eventually, from_env, own_address};

const PUBLISHERS: usize = 50;
/// These end topics, and reopen some.
const ENDERS: usize = 5;
/// These erase topics, and end some before.
const ERASERS: usize = 3;
/// Of the subscribers, these want everything, these ask by patterns, and the others want one
/// publisher's topic each.
const SUBSCRIBERS: usize = 200;
const OF_EVERYTHING: usize = 20;
const BY_PATTERN: usize = 60;

/// After this many events, a publisher repeats the key of an event that was acknowledged.
const REPEATS: u32 = 3;

/// How often the program is killed; `cargo xtask crash --cycles N` sets another number.
const CYCLES: u64 = 20;

/// How long all subscribers may take to get the last events.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many events of each publisher there are. It names them 1, 2, 3 and so on.
type Counts = HashMap<String, u64>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_out_of_order_when_the_program_is_killed() {
    let (cycles, seed) =
        (from_env("CARAFE_TEST_CYCLES", CYCLES), from_env("CARAFE_TEST_SEED", rand::random()));
    println!("CARAFE_TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut hub = start(&log, own_address());
    let address = hub.address;

    let start_time = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let received = Arc::new(AtomicU64::new(0));
    let (finish, finished) = watch::channel(None);
    let repeated = Arc::new(AtomicU64::new(0));
    let publishers: JoinSet<_> = (0..PUBLISHERS)
        .map(|number| publish(address, number, Arc::clone(&stop), Arc::clone(&repeated)))
        .collect();
    let enders: JoinSet<_> =
        (0..ENDERS).map(|number| end_topics(address, number, Arc::clone(&stop))).collect();
    let erasers: JoinSet<_> =
        (0..ERASERS).map(|number| erase_topics(address, number, Arc::clone(&stop))).collect();
    let subscribers: JoinSet<_> = (0..SUBSCRIBERS)
        .map(|number| subscribe(address, number, finished.clone(), Arc::clone(&received)))
        .collect();
    for cycle in 1..=cycles {
        sleep(Duration::from_millis(random.random_range(50..600))).await;
        hub.kill();
        hub = start(&log, address);
        println!("cycle {cycle}: {} events received", received.load(Ordering::Relaxed));
    }
    stop.store(true, Ordering::Relaxed);
    let counts: Counts = publishers.join_all().await.into_iter().collect();
    let ending: Vec<_> = enders.join_all().await.into_iter().flatten().collect();
    assert!(ending.len() >= ENDERS * FEWEST);
    for topic in &ending {
        topic.check(address).await;
    }
    let erased: Vec<_> = erasers.join_all().await.into_iter().flatten().collect();
    assert!(erased.len() >= ERASERS * FEWEST);
    for topic in &erased {
        topic.check(address).await;
    }
    finish.send(Some(Arc::new(counts.clone()))).unwrap();
    let complete = timeout(PATIENCE, subscribers.join_all()).await;
    assert!(complete.is_ok(), "not all subscribers got all events within {PATIENCE:?}");
    println!(
        "{cycles} kills in {} s: {} events acknowledged, {} keys repeated, {} topics ended, {} \
         erased, {} events received by {SUBSCRIBERS} subscribers, {BY_PATTERN} of them by patterns; 0 lost, 0 \
         doubled, 0 out of order",
        start_time.elapsed().as_secs(),
        counts.values().sum::<u64>(),
        repeated.load(Ordering::Relaxed),
        ending.len(),
        erased.len(),
        received.load(Ordering::Relaxed),
    );
    eventually("what was erased has left the disk", || !has(&log, ERASED));
    hub.terminate();
    assert!(hub.wait().success());
    assert_eq!(verify(&log), "");
}

fn start(log: &Path, address: SocketAddr) -> Server {
    let secret = log.with_file_name("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let secret = secret.to_str().unwrap();
    // Small segments, so that there is a new one now and then, and most erasures are carried out
    // after a start.
    let options = [
        "--segment-bytes",
        "256KiB",
        "--erase-within",
        "1s",
        "--retry",
        "50ms",
        "--secret-file",
        secret,
    ];
    Server::on_disk_at(address, log, &options)
}

/// Publishes 1, 2, 3 and so on, each until it is acknowledged, and answers how many that were.
async fn publish(
    address: SocketAddr,
    number: usize,
    stop: Arc<AtomicBool>,
    repeated: Arc<AtomicU64>,
) -> (String, u64) {
    let topic = format!("publisher/{number}");
    let hub = Publisher::new(format!("http://{address}")).without_retry();
    let mut ids = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        ids.push(publish_keyed(&hub, &topic, ids.len() + 1).await);
        if rand::random_ratio(1, REPEATS) {
            let at = rand::random_range(0..ids.len());
            let again = publish_keyed(&hub, &topic, at + 1).await;
            assert_eq!(again, ids[at], "the key of an acknowledged event was forgotten");
            repeated.fetch_add(1, Ordering::Relaxed);
        }
        sleep(Duration::from_millis(40)).await;
    }
    (topic, ids.len() as u64)
}

/// Whether it was stored before the program was killed is not known: its key keeps it from being
/// there twice.
async fn publish_keyed(hub: &Publisher, topic: &str, number: usize) -> String {
    let event = Publish::to(topic, number.to_string()).with_key(number.to_string());
    loop {
        match hub.publish(&event).await {
            Ok(id) => return id,
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// What a subscriber asks for, and which publishers that are.
struct Wanted {
    query: String,
    matches: Box<dyn Fn(&str) -> bool + Send>,
}

impl Wanted {
    fn of(subscriber: usize) -> Self {
        if subscriber < OF_EVERYTHING {
            return Self::new("", |_| true);
        }
        if subscriber < OF_EVERYTHING + BY_PATTERN {
            return match subscriber % 3 {
                0 => Self::new("pattern=publisher/:number&", |_| true),
                1 => Self::new("pattern=publisher/1*&", |topic| topic.starts_with("publisher/1")),
                // A regular expression: one digit.
                _ => Self::new("pattern=publisher/(%5Cd)&", |topic| {
                    topic.len() == "publisher/0".len()
                }),
            };
        }
        let wanted = format!("publisher/{}", subscriber % PUBLISHERS);
        Self::new(&format!("topic={wanted}&"), move |topic| topic == wanted)
    }

    fn new(query: &str, matches: impl Fn(&str) -> bool + Send + 'static) -> Self {
        Self { query: query.into(), matches: Box::new(matches) }
    }
}

#[derive(Deserialize)]
struct Envelope {
    topic: String,
    data: String,
}

/// Reads on, over all connections that it takes, until it has got what was acknowledged.
async fn subscribe(
    address: SocketAddr,
    number: usize,
    mut finished: watch::Receiver<Option<Arc<Counts>>>,
    received: Arc<AtomicU64>,
) {
    let wanted = Wanted::of(number);
    let url = format!("http://{address}/events?{}earliest&envelope=json", wanted.query);
    let mut events = EventSource::options(url).retry(Duration::from_millis(50)).connect();
    let mut oracle = Oracle::default();
    loop {
        let counts = finished.borrow_and_update().clone();
        if counts.is_some_and(|counts| oracle.has_all(&counts, &wanted)) {
            return;
        }
        tokio::select! {
            item = events.next_item() => {
                let item = item.expect("the hub never says that there is nothing more").unwrap();
                if oracle.check(&item, &wanted) {
                    received.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(()) = finished.changed() => {}
        }
    }
}

/// What one subscriber has got.
#[derive(Default)]
struct Oracle {
    counts: Counts,
    position: Option<Position>,
    /// Topics of which it has got the end.
    ended: HashSet<String>,
}

impl Oracle {
    /// Takes an item in, and answers whether a publisher sent it.
    fn check(&mut self, item: &Item, wanted: &Wanted) -> bool {
        let event = match item {
            Item::Event(event) => event,
            Item::Control(Control::Position(_)) => return false,
            Item::Control(Control::End(end)) => {
                assert!(self.ended.insert(end.topic.clone()), "a topic has ended twice: {end:?}");
                return false;
            }
            Item::Control(Control::Gap(gap)) => {
                assert_eq!(gap.reason, "erased", "history is there: {gap:?}");
                return false;
            }
            Item::Control(other) => panic!("the hub reports {other:?}"),
        };
        assert_eq!(event.event_type, "message");
        let position: Position = event.last_event_id.parse().unwrap();
        let last = self.position.replace(position);
        assert!(
            last.is_none_or(|last| last.offset < position.offset),
            "{last:?} and then {position:?}"
        );
        let envelope: Envelope = serde_json::from_str(&event.data).unwrap();
        assert!((wanted.matches)(&envelope.topic), "no subscriber requested {}", envelope.topic);
        if envelope.topic.starts_with(ERASING) {
            return false;
        }
        if envelope.topic.starts_with(ENDING) {
            let was_ended = self.ended.remove(&envelope.topic);
            assert!(!was_ended || envelope.data == "again", "{} has ended", envelope.topic);
            return false;
        }
        let count = self.counts.entry(envelope.topic).or_default();
        *count += 1;
        assert_eq!(envelope.data, count.to_string(), "lost, doubled or out of order");
        true
    }

    fn has_all(&self, acknowledged: &Counts, wanted: &Wanted) -> bool {
        let mut wanted = acknowledged.iter().filter(|(topic, _)| (wanted.matches)(topic));
        wanted.all(|(topic, count)| self.counts.get(topic) == Some(count))
    }
}

#[test]
fn the_oracle_finds_lost_repeated_reordered_and_missing_events() {
    let event = |offset: u64, count: u64| {
        Item::Event(ReceivedEvent {
            event_type: "message".into(),
            data: format!("{{\"topic\":\"a\",\"data\":\"{count}\"}}"),
            last_event_id: format!("000000000001-{offset}-00000000"),
        })
    };
    let gap = |reason: &str| {
        let gap = json!({ "requested": "a", "oldest": null, "reason": reason });
        Item::Control(Control::Gap(serde_json::from_value(gap).unwrap()))
    };
    let notices = |items: &[Item]| {
        let mut oracle = Oracle::default();
        std::panic::catch_unwind(move || {
            items.iter().filter(|item| oracle.check(item, &Wanted::of(0))).count()
        })
        .is_err()
    };
    let (first, second) = (event(1, 1), event(2, 2));
    let position = Item::Control(Control::Position("a".into()));
    assert!(!notices(&[first.clone(), second.clone(), position, gap("erased")]));
    assert!(notices(std::slice::from_ref(&second)), "lost");
    assert!(notices(&[first.clone(), first.clone()]), "doubled");
    assert!(notices(&[first.clone(), event(2, 1)]), "stored twice");
    assert!(notices(&[first.clone(), event(1, 2)]), "out of order");
    assert!(notices(&[first, gap("trimmed")]), "gone");
}
