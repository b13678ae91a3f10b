//! Random commits, over which all nodes decide alike: with a long history or a short one, in memory
//! or on disk, compacted or not, and however often they start again. Times go back now and then.

use std::time::Duration;

use carafe_log::contract::helpers::{any, keyed, pattern, publication, topic, try_read_all};
use carafe_log::contract::ordered::{self, store};
use carafe_log::{
    Commit, DiskLog, DiskOptions, Entry, Erase, MemoryLimits, MemoryLog, OrderedAnswers,
    OrderedCommit, Outcome, Publication, Read, ReadError,
};
use carafe_protocol::Offset;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::disk::{open, small_segments};
use crate::sim::SimDisk;
use crate::supplied::GENERATION;

const SEED: u64 = 0xA11CE;
const HISTORIES: u64 = 6;
const COMMITS: u64 = 250;

const WINDOW: Duration = Duration::from_secs(3600);

/// Leaders of the engine may differ by so much. It is less than what logs allow for.
const SKEW: u64 = 50 * 60;

fn random_publication(sequence: u64, random: &mut StdRng) -> Publication {
    let names = ["a", "b", "c", "state/1", "state/2"];
    let mut name = || names[random.random_range(0..names.len())];
    let (name, other) = (name(), name());
    let of = match random.random_range(0..100) {
        0..45 => keyed(name, &random.random_range(0..40).to_string()),
        45..70 => publication(name, &"x".repeat(random.random_range(0..300))),
        70..78 => publication(name, "again").with_reopening(true),
        78..83 => Publication::end(topic(name), Outcome::Done),
        83..85 => Publication::end(topic(name), Outcome::Failed).with_data("why"),
        85..90 => Publication::stop(topic(name)),
        90..93 => return Publication::erase(topic(name), Erase::Before),
        93..96 => {
            let commit = random.random_range(0..sequence) << Commit::OFFSET_BITS;
            return Publication::erase(topic(name), Erase::One(commit + random.random_range(0..3)));
        }
        _ => keyed(name, &random.random_range(0..40).to_string()).with_hub(true),
    };
    let of = if of.is_event() && random.random_ratio(1, 6) && name != other {
        of.with_alternates([topic(other)])
    } else {
        of
    };
    let is_private = random.random_ratio(1, 8);
    of.with_private(is_private)
}

fn random_commits(random: &mut StdRng) -> Vec<OrderedCommit> {
    let mut seconds = SKEW;
    let mut commits = Vec::new();
    for sequence in 1..=COMMITS {
        seconds += [0, 1, 60, 600][random.random_range(0..4)];
        let late = if random.random_ratio(1, 5) { random.random_range(0..SKEW) } else { 0 };
        let batches = (0..random.random_range(0..4)).map(|_| {
            (0..random.random_range(0..4)).map(|_| random_publication(sequence, random)).collect()
        });
        let batches = batches.collect();
        commits.push(ordered::commit(sequence, Duration::from_secs(seconds - late), batches));
    }
    commits
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
    fn new(entries: usize) -> Self {
        let limits = MemoryLimits::default().with_entries(entries).with_key_window(WINDOW);
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
    log: Option<DiskLog>,
    /// How often it was filled again.
    filled: usize,
}

impl OnDisk {
    fn new(options: DiskOptions, compacts: bool) -> Self {
        let options = options.with_supplied(GENERATION).with_key_window(WINDOW);
        let mut node = Self { disk: SimDisk::default(), options, compacts, log: None, filled: 0 };
        node.open();
        node
    }

    fn open(&mut self) -> &DiskLog {
        // The files are free when the old log is gone.
        self.log = None;
        let log = open(&self.disk, self.options).unwrap();
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
        store(self.log(), commits.to_vec())
    }

    fn restart(&mut self, commits: &[OrderedCommit]) {
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

#[test]
fn nodes_decide_alike_however_much_history_each_of_them_keeps() {
    let (mut repeated, mut refused, mut filled) = (0, 0, 0);
    for seed in SEED..SEED + HISTORIES {
        println!("seed {seed:#x}");
        let mut random = StdRng::seed_from_u64(seed);
        let commits = random_commits(&mut random);
        let mut reference = InMemory::new(1_000_000);
        let bytes = 4 * u64::from(small_segments().segment_size());
        let mut short_on_disk = OnDisk::new(small_segments().with_bytes(bytes), false);
        let mut short = InMemory::new(random.random_range(1..20));
        let mut compacted = OnDisk::new(small_segments(), true);
        let mut next = 0;
        while next < commits.len() {
            let end = (next + random.random_range(1..6)).min(commits.len());
            let expected = reference.store(&commits[next..end]);
            let others: [&mut dyn Node; 3] = [&mut short, &mut short_on_disk, &mut compacted];
            for (number, node) in others.into_iter().enumerate() {
                assert_eq!(node.store(&commits[next..end]), expected, "{number} at {next}");
                if random.random_ratio(1, 25) {
                    node.restart(&commits[..end]);
                }
            }
            let answers = expected.iter().flatten();
            refused += answers.clone().filter(|answer| answer.is_err()).count();
            repeated += answers.flatten().flatten().filter(|appended| appended.repeated).count();
            next = end;
        }
        let (_, all) = reference.entries();
        for node in [&short as &dyn Node, &short_on_disk, &compacted] {
            let (start, kept) = node.entries();
            let expected = all.iter().filter(|entry| entry.offset() > start);
            let is_of_hub = |entry: &&Entry| entry.publication.is_of_hub();
            let kept = kept.iter().filter(|entry| !is_of_hub(entry)).map(seen);
            assert!(kept.eq(expected.filter(|entry| !is_of_hub(entry)).map(seen)));
        }
        filled += short_on_disk.filled;
    }
    println!("{repeated} repeated, {refused} refused, {filled} times filled again");
    assert!(repeated > 100 && refused > 100 && filled > 0, "everything happens");
}
