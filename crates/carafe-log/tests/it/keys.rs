//! Idempotency keys: each is stored once within its window, with concurrent publishers, and while
//! segments are sealed and trimmed and the log is opened again.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use carafe_log::contract::helpers::{
    append, check_random, keyed, publication, read_all, settle, wait,
};
use carafe_log::{
    Append, Appended, DiskLog, Entry, Log, MemoryLimits, MemoryLog, Publication, Read,
};
use carafe_protocol::Position;
use proptest::prelude::*;

use crate::disk::small_segments;
use crate::sim::SimDisk;
use crate::time::{HOUR, Machine};

const SEED: u64 = 0x6E15;
const WINDOW: Duration = Duration::from_secs(24 * 3600);

fn disk_log(disk: &SimDisk, machine: &Machine) -> DiskLog {
    let options = small_segments().with_readers(2).with_key_window(WINDOW);
    DiskLog::open_with(Arc::new(disk.clone()), options, machine.clock()).unwrap()
}

fn memory_log(machine: &Machine) -> MemoryLog {
    let limits = MemoryLimits::default().with_key_window(WINDOW);
    MemoryLog::new(limits).with_clock(machine.clock())
}

fn is_known_within_its_window(log: &impl Log, machine: &Machine) {
    let publish = || wait(log.append(vec![keyed("a", "k")])).unwrap()[0];
    let first = publish();
    assert!(!first.repeated);
    machine.pass(WINDOW - HOUR);
    assert_eq!(publish(), Appended { position: first.position, repeated: true });
    machine.pass(2 * HOUR);
    let second = publish();
    assert!(!second.repeated && second.position.offset > first.position.offset);
    machine.pass(WINDOW - HOUR);
    assert_eq!(
        publish(),
        Appended { position: second.position, repeated: true },
        "the newer one counts"
    );
}

#[test]
fn a_key_is_known_within_its_window_in_memory() {
    let machine = Machine::new();
    is_known_within_its_window(&memory_log(&machine), &machine);
}

#[test]
fn a_key_is_known_within_its_window_on_disk() {
    let machine = Machine::new();
    is_known_within_its_window(&disk_log(&SimDisk::default(), &machine), &machine);
}

#[test]
fn a_window_counts_in_sealed_segments_and_after_a_restart() {
    let (disk, machine) = (SimDisk::default(), Machine::new());
    let log = disk_log(&disk, &machine);
    let first = append(&log, vec![keyed("a", "k")])[0];
    append(&log, (0..200).map(|number| keyed("b", &number.to_string())).collect());
    drop(log);
    let log = disk_log(&disk, &machine);
    let publish = || wait(log.append(vec![keyed("a", "k")])).unwrap()[0];
    assert_eq!(publish(), Appended { position: first, repeated: true });
    machine.pass(WINDOW + HOUR);
    assert!(!publish().repeated);
}

/// The keys of a batch are looked up in turns: filters first, then the disk.
#[test]
fn every_known_key_of_a_large_batch_is_repeated_and_every_other_one_is_stored() {
    const KEYS: usize = 4000;
    let (disk, machine) = (SimDisk::default(), Machine::new());
    let log = disk_log(&disk, &machine);
    let batch = |keys: std::ops::Range<usize>| -> Vec<_> {
        keys.map(|key| keyed(["a", "b"][key % 2], &key.to_string())).collect()
    };
    let stored: Vec<_> =
        (0..KEYS).step_by(20).flat_map(|from| append(&log, batch(from..from + 20))).collect();
    drop(log);
    let log = disk_log(&disk, &machine);
    let mut mixed = vec![publication("a", "without a key")];
    mixed.extend(batch(0..KEYS + 100));
    let answers = wait(log.append(mixed)).unwrap();
    let known = stored.iter().map(|position| Appended { position: *position, repeated: true });
    assert!(answers[1..=KEYS].iter().copied().eq(known));
    let new: Vec<_> = answers.iter().filter(|answer| !answer.repeated).collect();
    assert_eq!(new.len(), 101);
    assert!(new[1..].iter().zip(&answers[KEYS + 1..]).all(|(new, answer)| *new == answer));
}

/// What several publishers do: each its own batches, one after the other.
type Group = Vec<Vec<Vec<u8>>>;

#[derive(Clone, Debug)]
enum Step {
    Publish(Group),
    Pass(u32),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let batch = prop::collection::vec(0..8_u8, 1..4);
    let publisher = prop::collection::vec(batch, 1..5);
    prop_oneof![
        6 => prop::collection::vec(publisher, 1..4).prop_map(Step::Publish),
        2 => (1..20_u32).prop_map(Step::Pass),
        1 => Just(Step::Restart),
    ]
}

/// All answers: the key, the answer to its publisher, and the time.
#[derive(Default)]
struct Answers(Vec<(String, Appended, SystemTime)>);

impl Answers {
    fn publish<L: Log>(&mut self, log: &L, group: &Group, now: SystemTime) {
        let answers = thread::scope(|scope| {
            let publisher = |batches: &'_ Vec<Vec<u8>>| -> Vec<(String, Appended)> {
                let publish = |batch: &Vec<u8>| {
                    let appended =
                        wait(log.append(batch.iter().map(|key| event(*key)).collect())).unwrap();
                    batch.iter().map(ToString::to_string).zip(appended).collect::<Vec<_>>()
                };
                batches.iter().flat_map(publish).collect()
            };
            let publishers: Vec<_> =
                group.iter().map(|batches| scope.spawn(move || publisher(batches))).collect();
            publishers
                .into_iter()
                .flat_map(|publisher| publisher.join().unwrap())
                .collect::<Vec<_>>()
        });
        self.0.extend(answers.into_iter().map(|(key, appended)| (key, appended, now)));
    }

    /// Each key is stored once in each window, and each publisher gets its position.
    fn check(&self, entries: &[Arc<Entry>]) {
        let mut stored: HashMap<Position, (String, SystemTime)> = HashMap::new();
        let mut newest: HashMap<String, SystemTime> = HashMap::new();
        for entry in entries {
            let key = entry.publication.key().unwrap().to_string();
            let before = newest.insert(key.clone(), entry.time);
            let age = before.map(|before| entry.time.duration_since(before).unwrap());
            assert!(age.is_none_or(|age| age >= WINDOW), "{key} is stored again after {age:?}");
            stored.insert(entry.position, (key, entry.time));
        }
        let mut acknowledged: Vec<_> = self
            .0
            .iter()
            .filter(|(_, appended, _)| !appended.repeated)
            .map(|(_, appended, _)| appended.position)
            .collect();
        acknowledged.sort_by_key(|position| position.offset);
        assert!(
            acknowledged.iter().eq(entries.iter().map(|entry| &entry.position)),
            "each acknowledged entry is stored"
        );
        for (key, appended, now) in &self.0 {
            let (of_key, time) = &stored[&appended.position];
            assert_eq!(of_key, key);
            let age = now.duration_since(*time).unwrap();
            assert!(age < WINDOW, "{key} is repeated after {age:?}");
        }
    }
}

/// Large enough that segments are sealed all the time.
fn event(key: u8) -> Publication {
    let text = key.to_string();
    publication("a", &"x".repeat(150)).with_key(keyed("a", &text).key().cloned().unwrap())
}

#[test]
fn each_key_is_stored_once_in_each_window_with_concurrent_publishers() {
    let steps = prop::collection::vec(step(), 1..20);
    check_random(SEED, 100, &steps, |steps| {
        let (disk, machine, mut answers) = (SimDisk::default(), Machine::new(), Answers::default());
        let mut log = disk_log(&disk, &machine);
        let (in_memory, mut told_in_memory) = (memory_log(&machine), Answers::default());
        for step in steps {
            match step {
                Step::Publish(group) => {
                    answers.publish(&log, &group, log.clock().now());
                    told_in_memory.publish(&in_memory, &group, in_memory.clock().now());
                }
                Step::Pass(hours) => machine.pass(hours * HOUR),
                Step::Restart => {
                    drop(log);
                    log = disk_log(&disk, &machine);
                }
            }
        }
        settle(&log);
        let any = [carafe_protocol::TopicMatcher::any()];
        answers.check(&read_all(&log, 0, &any));
        told_in_memory.check(&read_all(&in_memory, 0, &any));
    });
}
