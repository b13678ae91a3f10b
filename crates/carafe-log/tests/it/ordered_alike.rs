//! Random commits, over which all nodes decide alike: with a long history or a short one, in memory
//! or on disk, compacted or not, and however often they start again. Times go forth and back.

use std::sync::Arc;
use std::time::Duration;

use carafe_log::contract::helpers::{any, keyed, pattern, publication, topic, try_read_all};
use carafe_log::contract::ordered::{self, store};
use carafe_log::{
    Commit, DiskLog, DiskOptions, Entry, Erase, Kind, MemoryLimits, MemoryLog, OrderedAnswers,
    OrderedCommit, Outcome, Publication, Read, ReadError,
};
use carafe_protocol::Offset;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::disk::small_segments;
use crate::erase::{at_once, until_carried_out};
use crate::sim::SimDisk;
use crate::supplied::GENERATION;
use crate::survival;
use crate::time::{HOUR, Machine};

const SEED: u64 = 0xA11CE;
/// Histories of each kind.
const HISTORIES: u64 = 8;
const COMMITS: u64 = 250;

/// By how much the clocks of the engine's leaders may differ, in seconds.
const SKEW: u64 = 60 * 60;
const DAY: u64 = 24 * 60 * 60;

/// A random history.
struct History {
    random: StdRng,
    /// In seconds.
    window: u64,
    /// Whether times go back by more than clocks may differ.
    breaks_skew: bool,
    /// The latest time so far, in seconds.
    latest: u64,
    /// What was published with a key, if it was stored.
    keyed: Vec<(Offset, u32)>,
}

impl History {
    fn new(seed: u64, breaks_skew: bool) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let window = [60, 20 * 60, SKEW, 4 * SKEW][random.random_range(0..4)];
        Self { random, window, breaks_skew, latest: 100 * DAY, keyed: Vec::new() }
    }

    fn commits(&mut self) -> Vec<OrderedCommit> {
        (1..=COMMITS).map(|sequence| self.commit(sequence)).collect()
    }

    fn commit(&mut self, sequence: u64) -> OrderedCommit {
        let time = Duration::from_secs(self.time());
        let batches = (0..self.random.random_range(0..4))
            .map(|_| (0..self.random.random_range(0..4)).map(|_| self.publication()).collect());
        let commit = ordered::commit(sequence, time, batches.collect());
        let publications = commit.commit.batches.iter().flatten().enumerate();
        let keyed = publications.filter(|(_, publication)| publication.key().is_some());
        let event = |index| (commit.first + index as Offset, commit.commit.nonce(index));
        self.keyed.extend(keyed.map(|(index, _)| event(index)));
        commit
    }

    fn time(&mut self) -> u64 {
        let random = &mut self.random;
        self.latest += match random.random_range(0..60) {
            0 => self.window + random.random_range(0..2 * SKEW),
            1 => random.random_range(0..DAY),
            2..6 => self.window / 2,
            6..16 => self.window / 8,
            16..30 => 1,
            _ => 0,
        };
        if self.breaks_skew && random.random_ratio(1, 20) {
            self.latest -= random.random_range(0..DAY);
        }
        match random.random_range(0..6) {
            0 => self.latest - random.random_range(0..SKEW),
            1 => self.latest - SKEW,
            _ => self.latest,
        }
    }

    fn publication(&mut self) -> Publication {
        let random = &mut self.random;
        let names = ["a", "b", "state/1"];
        let mut name = || names[random.random_range(0..names.len())];
        let (name, other) = (name(), name());
        let key = random.random_range(0..3).to_string();
        let of = match random.random_range(0..100) {
            0..45 => keyed(name, &key),
            45..65 => publication(name, &"x".repeat(random.random_range(0..300))),
            65..73 => publication(name, "again").with_reopening(true),
            73..78 => Publication::end(topic(name), Outcome::Done),
            78..80 => keyed(name, &key).with_kind(Kind::End(Outcome::Failed)).with_data("why"),
            80..85 => Publication::stop(topic(name)),
            85..88 => return Publication::erase(topic(name), Erase::Before),
            88..95 => return Publication::erase(topic(name), self.erased_event()),
            _ => keyed(name, &key).with_hub(true),
        };
        let of = if of.is_event() && random.random_ratio(1, 6) && name != other {
            of.with_alternates([topic(other)])
        } else {
            of
        };
        let is_private = random.random_ratio(1, 8);
        of.with_private(is_private)
    }

    /// A recent event, mostly by its right nonce.
    fn erased_event(&mut self) -> Erase {
        let recent = self.keyed.iter().rev().take(12).collect::<Vec<_>>();
        let (offset, nonce) = match recent.len() {
            0 => (0, 0),
            count => *recent[self.random.random_range(0..count)],
        };
        match self.random.random_range(0..8) {
            0 => Erase::One(offset),
            1 => Erase::Event { offset, nonce: !nonce },
            _ => Erase::Event { offset, nonce },
        }
    }
}

/// One of the nodes. When it starts again, its log is opened again or filled again.
trait Node {
    fn store(&mut self, commits: &[OrderedCommit]) -> OrderedAnswers;
    /// `commits` are those that it has stored.
    fn restart(&mut self, commits: &[OrderedCommit]);
    fn entries(&self) -> (Offset, Vec<Entry>);
}

struct InMemory(MemoryLimits, MemoryLog);

impl InMemory {
    fn new(window: Duration, entries: usize) -> Self {
        let limits = MemoryLimits::default().with_entries(entries).with_key_window(window);
        Self(limits, MemoryLog::with_generation(limits, GENERATION))
    }
}

impl Node for InMemory {
    fn store(&mut self, commits: &[OrderedCommit]) -> OrderedAnswers {
        store(&self.1, commits.to_vec())
    }

    fn restart(&mut self, commits: &[OrderedCommit]) {
        self.1 = MemoryLog::with_generation(self.0, GENERATION);
        store(&self.1, commits.to_vec());
    }

    fn entries(&self) -> (Offset, Vec<Entry>) {
        entries(&self.1)
    }
}

struct OnDisk {
    disk: SimDisk,
    options: DiskOptions,
    compacts: bool,
    machine: Machine,
    log: Option<DiskLog>,
    restarts: usize,
    /// How often it was filled again.
    filled: usize,
}

impl OnDisk {
    fn new(window: Duration, options: DiskOptions, compacts: bool) -> Self {
        let options = options.with_supplied(GENERATION).with_key_window(window);
        let (disk, machine) = (SimDisk::default(), Machine::new());
        let mut node = Self { disk, options, compacts, machine, log: None, restarts: 0, filled: 0 };
        node.open();
        node
    }

    fn open(&mut self) -> &DiskLog {
        // The files are free when the old log is gone.
        self.log = None;
        let storage = Arc::new(self.disk.clone());
        let log = DiskLog::open_with(storage, self.options, self.machine.clock()).unwrap();
        if self.compacts {
            log.compact(vec![pattern("state/*"), pattern("a")]);
        }
        self.log.insert(log)
    }

    fn log(&self) -> &DiskLog {
        self.log.as_ref().unwrap()
    }
}

impl Node for OnDisk {
    fn store(&mut self, commits: &[OrderedCommit]) -> OrderedAnswers {
        // Segments that are too old are removed one a minute.
        self.machine.pass(HOUR);
        store(self.log(), commits.to_vec())
    }

    fn restart(&mut self, commits: &[OrderedCommit]) {
        if self.options.erase_within.is_zero() {
            until_carried_out(self.log());
        }
        self.restarts += 1;
        if self.open().lacks_keys() {
            self.filled += 1;
            self.disk = SimDisk::default();
            self.open();
            for some in commits.chunks(7) {
                self.store(some);
            }
        }
    }

    fn entries(&self) -> (Offset, Vec<Entry>) {
        entries(self.log())
    }
}

fn entries(log: &impl Read) -> (Offset, Vec<Entry>) {
    loop {
        let start = log.span().start.offset;
        match try_read_all(log, start, &any()) {
            Ok(all) => return (start, all.iter().map(|entry| Entry::clone(entry)).collect()),
            // Commits are answered before the log is trimmed.
            Err(ReadError::Trimmed { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// What a reader knows of an entry, compacted or not.
fn seen(entry: &Entry) -> (Offset, u32) {
    (entry.position.offset, entry.position.nonce)
}

/// How often nodes decided so.
#[derive(Debug, Default)]
struct Decided {
    repeated: usize,
    refused: usize,
}

/// Lets all nodes decide over the commits, some at a time, and start again now and then.
fn decide_alike(
    commits: &[OrderedCommit],
    reference: &mut InMemory,
    nodes: &mut [(&str, &mut dyn Node)],
    random: &mut StdRng,
) -> Decided {
    let (mut decided, mut next) = (Decided::default(), 0);
    while next < commits.len() {
        let end = (next + random.random_range(1..6)).min(commits.len());
        let expected = reference.store(&commits[next..end]);
        for (name, node) in nodes.iter_mut() {
            assert_eq!(node.store(&commits[next..end]), expected, "{name}, commit {next}");
            if random.random_ratio(1, 25) {
                node.restart(&commits[..end]);
            }
        }
        let answers = expected.iter().flatten();
        decided.refused += answers.clone().filter(|answer| answer.is_err()).count();
        let appended = answers.flatten().flatten();
        decided.repeated += appended.filter(|appended| appended.repeated).count();
        next = end;
    }
    let (_, all) = reference.entries();
    for (name, node) in nodes {
        let (start, kept) = node.entries();
        let expected = all.iter().filter(|entry| entry.offset() > start);
        let is_of_hub = |entry: &&Entry| entry.publication.is_of_hub();
        let kept = kept.iter().filter(|entry| !is_of_hub(entry)).map(seen);
        assert!(kept.eq(expected.filter(|entry| !is_of_hub(entry)).map(seen)), "{name}");
    }
    decided
}

/// Runs random histories.
fn run(breaks_skew: bool, mut one: impl FnMut(&[OrderedCommit], Duration, &mut StdRng) -> Decided) {
    let seeds = survival::seeds(SEED, ("CARAFE_TEST_HISTORIES", HISTORIES));
    println!("seeds {seeds:?}");
    let mut all = Decided::default();
    for seed in seeds.clone() {
        println!("seed {seed}");
        let mut history = History::new(seed, breaks_skew);
        let (commits, window) = (history.commits(), Duration::from_secs(history.window));
        let decided = one(&commits, window, &mut history.random);
        all.repeated += decided.repeated;
        all.refused += decided.refused;
    }
    println!("{all:?}");
    let is_whole = seeds.count() as u64 >= HISTORIES;
    assert!(!is_whole || (all.repeated > 100 && all.refused > 100), "everything happens");
}

#[test]
fn nodes_decide_alike_however_much_history_each_of_them_keeps() {
    let (mut restarts, mut filled) = (0, 0);
    run(false, |commits, window, random| {
        let bytes = 4 * u64::from(small_segments().segment_size());
        let mut short = InMemory::new(window, random.random_range(1..20));
        let mut short_on_disk = OnDisk::new(window, at_once().with_bytes(bytes), false);
        let mut aged = OnDisk::new(window, small_segments().with_age(window), false);
        let mut compacted = OnDisk::new(window, small_segments(), true);
        let decided = decide_alike(
            commits,
            &mut InMemory::new(window, usize::MAX),
            &mut [
                ("short", &mut short),
                ("short on disk", &mut short_on_disk),
                ("aged", &mut aged),
                ("compacted", &mut compacted),
            ],
            random,
        );
        assert_eq!(compacted.filled, 0, "it lacks nothing");
        restarts += short_on_disk.restarts + aged.restarts;
        filled += short_on_disk.filled + aged.filled;
        decided
    });
    println!("{restarts} starts of nodes with a short history, which were filled {filled} times");
    assert!(restarts < 20 || filled > 0, "everything happens");
}

/// A node that has removed nothing knows every key and every end, whatever the time says. Those
/// that have removed some decide otherwise then: docs/CLUSTER.md says when.
#[test]
fn nodes_that_keep_everything_decide_alike_whatever_their_engine_takes_for_the_time() {
    run(true, |commits, window, random| {
        decide_alike(
            commits,
            &mut InMemory::new(window, usize::MAX),
            &mut [
                ("in memory", &mut InMemory::new(window, usize::MAX)),
                ("on disk", &mut OnDisk::new(window, small_segments(), false)),
                ("erased on disk", &mut OnDisk::new(window, at_once(), false)),
            ],
            random,
        )
    });
}

#[test]
fn a_log_that_is_opened_again_lacks_what_may_be_younger_than_its_oldest_entry() {
    let options = small_segments().with_bytes(4 * u64::from(small_segments().segment_size()));
    let mut node = OnDisk::new(HOUR, options, false);
    let commit =
        |sequence, time, publication| ordered::commit(sequence, time, vec![vec![publication]]);
    let minute = HOUR / 60;
    node.store(&[commit(1, 50 * minute, keyed("a", "k"))]);
    for at in 2..100 {
        node.store(&[commit(at, Duration::ZERO, publication("a", &"x".repeat(100)))]);
    }
    node.store(&[commit(100, 2 * HOUR, publication("a", ""))]);
    let (start, kept) = node.entries();
    assert!(start > 1 << Commit::OFFSET_BITS, "the key is removed");
    assert_eq!(kept[0].time, ordered::at(Duration::ZERO));
    assert!(node.open().lacks_keys());
    let again = commit(101, 100 * minute, keyed("a", "k"));
    assert!(!node.store(&[again])[0][0].as_ref().unwrap()[0].repeated, "as others do not decide");
    node.store(&[commit(102, 3 * HOUR, publication("a", ""))]);
    assert!(!node.open().lacks_keys(), "nothing that was removed decides any more");
}
