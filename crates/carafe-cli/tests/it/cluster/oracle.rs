//! What is known of all events: each has one position, whoever tells it, and each reader receives
//! each event once and in order.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use carafe_client::ReceivedEvent;
use carafe_protocol::Position;
use serde::Deserialize;

/// The topic of a publisher, and the number of an event in it, from 1 on.
type Name = (String, u64);

/// Begins the topics whose events have no keys, and are published once. The numbers of those that
/// were not acknowledged may be missing, and may come late.
pub(crate) const PLAIN: &str = "plain/";

/// Knows every event that was acknowledged or delivered.
pub(crate) struct Oracle {
    positions: Mutex<HashMap<Name, Position>>,
    /// The events of plain topics that were acknowledged.
    plain: Mutex<HashSet<Name>>,
    delivered: AtomicU64,
    acknowledged: AtomicU64,
    pauses: Mutex<Pauses>,
}

/// When publishing worked.
struct Pauses {
    last: Instant,
    longest: Duration,
}

#[derive(Deserialize)]
struct Envelope {
    topic: String,
    data: String,
}

impl Oracle {
    pub(crate) fn new() -> Self {
        Self {
            positions: Mutex::default(),
            plain: Mutex::default(),
            delivered: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            pauses: Mutex::new(Pauses { last: Instant::now(), longest: Duration::ZERO }),
        }
    }

    /// A node has acknowledged an event.
    #[track_caller]
    pub(crate) fn acknowledged(&self, topic: &str, number: u64, id: &str) {
        let mut pauses = self.pauses.lock().unwrap();
        pauses.longest = pauses.longest.max(pauses.last.elapsed());
        pauses.last = Instant::now();
        drop(pauses);
        if topic.starts_with(PLAIN) {
            self.plain.lock().unwrap().insert((topic.to_owned(), number));
        }
        self.tell(topic, number, id.parse().unwrap());
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// A node has delivered an event to this reader.
    #[track_caller]
    pub(crate) fn delivered(&self, reader: &mut Reading, event: &ReceivedEvent) {
        assert_eq!(event.event_type, "message", "nothing is missing: {}", event.data);
        let position: Position = event.last_event_id.parse().unwrap();
        let last = reader.position.replace(position);
        assert!(
            last.is_none_or(|last| last.offset < position.offset),
            "out of order or doubled: {last:?}, and then {position:?}"
        );
        let Envelope { topic, data } = serde_json::from_str(&event.data).unwrap();
        let number = if topic.starts_with(PLAIN) {
            let number = data.parse().unwrap();
            assert!(reader.plain.insert((topic.clone(), number)), "{topic}: {number} is doubled");
            number
        } else {
            let count = reader.counts.entry(topic.clone()).or_default();
            *count += 1;
            assert_eq!(data, count.to_string(), "{topic}: lost, doubled or out of order");
            *count
        };
        self.tell(&topic, number, position);
        self.delivered.fetch_add(1, Ordering::Relaxed);
    }

    /// Whoever tells the position of an event has to tell the same.
    #[track_caller]
    fn tell(&self, topic: &str, number: u64, position: Position) {
        let mut positions = self.positions.lock().unwrap();
        let known = *positions.entry((topic.to_owned(), number)).or_insert(position);
        drop(positions);
        assert_eq!(known, position, "event {number} of {topic} has two positions");
    }

    /// Whether a reader has all of what was acknowledged: that many events of each topic.
    pub(crate) fn is_complete(&self, reader: &Reading, counts: &[(String, u64)]) -> bool {
        let mut keyed = counts.iter().filter(|(topic, _)| !topic.starts_with(PLAIN));
        keyed.all(|(topic, count)| reader.counts.get(topic).copied().unwrap_or(0) == *count)
            && self.plain.lock().unwrap().is_subset(&reader.plain)
    }

    pub(crate) fn deliveries(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    pub(crate) fn acknowledgements(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// The longest time in which no publisher got an answer, since the last call.
    pub(crate) fn longest_pause(&self) -> Duration {
        let mut pauses = self.pauses.lock().unwrap();
        let longest = pauses.longest.max(pauses.last.elapsed());
        pauses.longest = Duration::ZERO;
        longest
    }
}

/// What one reader has received, over all nodes that it has read from.
#[derive(Default)]
pub(crate) struct Reading {
    counts: HashMap<String, u64>,
    plain: HashSet<Name>,
    position: Option<Position>,
}

#[test]
fn the_oracle_of_a_cluster_finds_lost_doubled_reordered_and_moved_events() {
    let event = |offset: u64, number: u64| ReceivedEvent {
        event_type: "message".into(),
        data: format!("{{\"topic\":\"a\",\"data\":\"{number}\"}}"),
        last_event_id: format!("000000000001-{offset}-00000000"),
    };
    let notices = |acknowledged: u64, events: &[ReceivedEvent]| {
        let (oracle, mut reading) = (Oracle::new(), Reading::default());
        let check = std::panic::AssertUnwindSafe(|| {
            oracle.acknowledged("a", 1, &event(acknowledged, 1).last_event_id);
            events.iter().for_each(|event| oracle.delivered(&mut reading, event));
            assert!(oracle.is_complete(&reading, &[("a".into(), events.len() as u64)]));
        });
        std::panic::catch_unwind(check).is_err()
    };
    let mut gap = event(1, 1);
    gap.event_type = "carafe.gap".into();
    assert!(!notices(1, &[event(1, 1), event(2, 2)]));
    assert!(notices(1, &[event(2, 2)]), "lost");
    assert!(notices(1, &[event(1, 1), event(2, 1)]), "doubled");
    assert!(notices(1, &[event(2, 1), event(1, 2)]), "out of order");
    assert!(notices(1, &[event(2, 1)]), "not where it was acknowledged");
    assert!(notices(1, &[gap]), "a gap");
    let plain = |offset, number| {
        let mut plain = event(offset, number);
        plain.data = plain.data.replace("\"a\"", "\"plain/1\"");
        plain
    };
    let (oracle, mut reading) = (Oracle::new(), Reading::default());
    oracle.acknowledged("plain/1", 2, &event(1, 0).last_event_id);
    assert!(!oracle.is_complete(&reading, &[("plain/1".into(), 3)]), "lost");
    oracle.delivered(&mut reading, &plain(1, 2));
    assert!(oracle.is_complete(&reading, &[("plain/1".into(), 3)]), "1 and 3 failed");
    let again = std::panic::AssertUnwindSafe(|| oracle.delivered(&mut reading, &plain(2, 2)));
    assert!(std::panic::catch_unwind(again).is_err(), "stored twice");
}
