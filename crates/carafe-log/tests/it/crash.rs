//! Whatever a crash leaves: the log opens, has every acknowledged entry, and invents none.

use std::collections::BTreeMap;
use std::sync::Arc;

use carafe_log::contract::helpers::{
    append, append_one, publication, read_all, topic, try_read_all,
};
use carafe_log::{DiskLog, DiskOptions, Entry, Kind, Outcome, Publication, Read, TopicState};
use carafe_protocol::TopicMatcher;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::disk::{open, small_segments};
use crate::sim::{SimDisk, Sync};

/// Crash images that are looked at; `CARAFE_TEST_CRASHES` sets another number.
const CRASHES: usize = 100_000;
const SEED: u64 = 0xC0FFEE;

/// A log's life on a recording disk.
struct Life {
    disk: SimDisk,
    /// All entries that were acknowledged, each with how much was done to the disk by then.
    acknowledged: Vec<(usize, Arc<Entry>)>,
    /// When the log was given what it could have stored.
    offered: usize,
    /// When history was trimmed up to which offset, at the latest.
    trimmed: Vec<(usize, u64)>,
}

/// Enough for several segments, trims, batches, and closing in between.
const ROUNDS: usize = 8;
const BATCHES: usize = 20;

fn options() -> DiskOptions {
    small_segments().with_segment_bytes(1024).with_bytes(9000)
}

impl Life {
    fn live(disk: SimDisk, random: &mut StdRng) -> Self {
        let mut life = Self { disk, acknowledged: Vec::new(), offered: 0, trimmed: Vec::new() };
        for _ in 0..ROUNDS {
            let log = open(&life.disk, options()).unwrap();
            for _ in 0..BATCHES {
                life.append(&log, random);
            }
        }
        life
    }

    fn append(&mut self, log: &DiskLog, random: &mut StdRng) {
        let from = log.span().tail.offset;
        let batch: Vec<_> = (0..random.random_range(1..4)).map(|_| self.next(random)).collect();
        append(log, batch);
        let done = self.disk.done();
        let entries = read_all(log, from, &[TopicMatcher::any()]);
        self.acknowledged.extend(entries.into_iter().map(|entry| (done, entry)));
        self.trimmed.push((done, log.span().start.offset));
    }

    /// Every publication says which it is.
    fn next(&mut self, random: &mut StdRng) -> Publication {
        self.offered += 1;
        // A large one takes the room of several segments, which are trimmed together.
        let size = if random.random_ratio(1, 20) { 2500 } else { random.random_range(0..120) };
        let text = format!("{} {}", self.offered, "x".repeat(size));
        let publication = publication(["a", "b"][self.offered % 2], &text);
        match random.random_range(0..10) {
            0 => self.of_topic(self.offered, Kind::End(Outcome::ALL[self.offered % 3]), &text),
            1 => self.of_topic(self.offered, Kind::Stop, &text),
            // A topic that has ended, was stopped, or never was.
            2 => self
                .of_topic(random.random_range(0..self.offered), Kind::Event, &text)
                .with_reopening(true),
            _ => publication,
        }
    }

    /// A publication of one of as many topics as there are publications.
    fn of_topic(&self, number: usize, kind: Kind, text: &str) -> Publication {
        publication(&number.to_string(), text).with_kind(kind)
    }

    /// Whether the log knows the state of each topic as the kept entries tell it, and of none that
    /// was trimmed.
    fn knows_states(&self, log: &DiskLog, kept: &[Arc<Entry>]) -> Result<(), String> {
        let mut states = BTreeMap::new();
        for entry in kept {
            let state = match entry.publication.kind() {
                Kind::End(outcome) => (Some((outcome, entry.position)), None),
                Kind::Stop => (None, Some(entry.position)),
                _ => (None, None),
            };
            if entry.publication.reopens() || state != (None, None) {
                states.insert(entry.topic().clone(), state);
            }
        }
        for topic in (0..=self.offered).map(|number| topic(&number.to_string())) {
            let TopicState { end, stop, .. } = log.topic_state(&topic);
            let known = (end.map(|end| (end.outcome, end.position)), stop);
            if known != states.remove(&topic).unwrap_or_default() {
                return Err(format!("the state of {topic} is not what the entries say"));
            }
        }
        Ok(())
    }

    /// What is wrong with the log that is opened after a crash, if anything is.
    fn survives(&self, crash: BTreeMap<String, Vec<u8>>, done: usize) -> Result<(), String> {
        let disk = SimDisk::with(crash);
        let log = open(&disk, options()).map_err(|error| error.to_string())?;
        let kept = try_read_all(&log, log.span().start.offset, &[TopicMatcher::any()]);
        let kept = kept.map_err(|error| error.to_string())?;
        let acknowledged: Vec<_> = self
            .acknowledged
            .iter()
            .filter(|(at, _)| *at <= done)
            .map(|(_, entry)| entry)
            .collect();
        // Trimming may have got to the disk or not, and may have been under way.
        let next = self.trimmed.partition_point(|(at, _)| *at <= done);
        let gone = self.trimmed.get(next).or(self.trimmed.last()).map_or(0, |(_, offset)| *offset);
        let owed: Vec<_> = acknowledged.iter().filter(|entry| entry.offset() > gone).collect();
        let first = kept.first().map_or(u64::MAX, |entry| entry.offset());
        let lost = owed.iter().find(|entry| entry.offset() < first || !kept.contains(entry));
        if let Some(lost) = lost {
            return Err(format!("acknowledged entry {} is lost", lost.offset()));
        }
        for (entry, offset) in kept.iter().zip(first..) {
            let known =
                usize::try_from(offset).ok().and_then(|offset| self.acknowledged.get(offset - 1));
            // It was on its way when the machine stopped: then it must be what was given.
            let given = known.map(|(_, known)| &known.publication);
            if entry.offset() != offset || given != Some(&entry.publication) {
                return Err(format!("entry {offset} is invented"));
            }
        }
        self.knows_states(&log, &kept)?;
        let next = append_one(&log, publication("a", "goes on"));
        drop(log);
        let log = open(&disk, options()).map_err(|error| format!("again: {error}"))?;
        if log.span().tail != next {
            return Err("what is appended after a crash is lost".into());
        }
        Ok(())
    }
}

/// How many crash images a test looks at.
pub(crate) fn crashes(otherwise: usize) -> usize {
    std::env::var("CARAFE_TEST_CRASHES").map_or(otherwise, |number| number.parse().unwrap())
}

#[test]
fn after_any_crash_every_acknowledged_entry_is_there_and_none_is_invented() {
    println!("seed {SEED:#x}");
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let each = crashes(CRASHES).div_ceil(threads);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(SEED + thread as u64);
                let life = Life::live(SimDisk::default(), &mut random);
                for _ in 0..each {
                    let done = random.random_range(0..=life.disk.done());
                    let crash = life.disk.crash(done, &mut random);
                    let survived = life.survives(crash, done);
                    assert_eq!(survived, Ok(()), "after {done} operations");
                }
            });
        }
    });
}

/// The test above would find it.
#[test]
fn leaving_out_any_one_sync_loses_something() {
    println!("seed {SEED:#x}");
    for sync in [Sync::Header, Sync::Commit, Sync::Begun, Sync::Trimmed, Sync::Unmarked] {
        let mut random = StdRng::seed_from_u64(SEED);
        let life = Life::live(SimDisk::leaving_out(sync), &mut random);
        let lost = (0..20_000).find_map(|_| {
            let done = random.random_range(0..=life.disk.done());
            let crash = life.disk.crash(done, &mut random);
            life.survives(crash, done).err()
        });
        println!("without {sync:?}: {lost:?}");
        assert!(lost.is_some(), "without {sync:?}, nothing was lost");
    }
}
