//! Random use of a log on a disk that fails, stops and crashes. The answers to publishers stay
//! true.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use carafe_log::contract::helpers::{keyed, publication, wait};
use carafe_log::{
    Append, AppendError, DiskLog, DiskOptions, Entry, IdempotencyKey, Publication, Read,
};
use carafe_protocol::{Offset, Position, Topic};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::disk::{all, open, small_segments, verify};
use crate::faults::{Answer, append_together};
use crate::sim::SimDisk;
use crate::time::{HOUR, Machine, Wall};

/// Lives that are looked at.
const LIVES: u64 = 200;
const SEED: u64 = 0xD15C;

const ROUNDS: usize = 6;
const GROUPS: usize = 12;
/// The odds of a failing call: one in this number.
const FAULTS: u32 = 40;
/// The odds of a failing read of an entry with a key: one in this number.
const KEY_FAULTS: u32 = 6;

/// The life of a log, and the answers to its publishers.
struct Life {
    random: StdRng,
    options: DiskOptions,
    machine: Machine,
    disk: SimDisk,
    offered: usize,
    stored: Vec<Stored>,
    /// The data of publications whose publishers got an error, by which they may be stored or not.
    uncertain: HashSet<String>,
    /// History was trimmed up to here at least.
    trimmed: Offset,
}

/// An acknowledged entry, with how much was done to the disk by then.
struct Stored {
    done: usize,
    position: Position,
    publication: Publication,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let bytes = if random.random() { 6000 } else { u64::MAX };
        let age = random.random_ratio(1, 4).then_some(HOUR);
        Self {
            random,
            // As long as an entry is kept.
            options: small_segments()
                .with_key_window(Duration::MAX)
                .with_segment_bytes(1024)
                .with_bytes(bytes)
                .with_age(age),
            machine: Machine::new(),
            disk: SimDisk::default(),
            offered: 0,
            stored: Vec::new(),
            uncertain: HashSet::new(),
            trimmed: 0,
        }
    }

    fn live(mut self) {
        for _ in 0..ROUNDS {
            let log = self.open();
            for _ in 0..GROUPS {
                self.publish(&log);
            }
            if self.random.random() {
                self.stop(log);
            } else {
                self.crash(log);
            }
            self.check();
        }
    }

    fn fail_at_random(&mut self) {
        self.disk.fail_at_random(self.random.random(), FAULTS, FAULTS);
    }

    /// A log that cannot be opened while the disk fails can be opened when it is well again.
    fn open(&mut self) -> DiskLog {
        if self.random.random() {
            self.fail_at_random();
        }
        let open =
            || DiskLog::open_with(Arc::new(self.disk.clone()), self.options, self.machine.clock());
        let opened = open();
        self.disk.heal();
        let log = opened.unwrap_or_else(|_| open().unwrap());
        let done = self.disk.done();
        self.stored.iter_mut().for_each(|stored| stored.done = stored.done.min(done));
        log
    }

    /// Some batches of several clients share a commit, in which some calls fail.
    fn publish(&mut self, log: &DiskLog) {
        let batches: Vec<Vec<_>> = (0..self.random.random_range(1..4))
            .map(|_| (0..self.random.random_range(1..4)).map(|_| self.next()).collect())
            .collect();
        let first = vec![self.next()];
        let kept_after = log.span().start.offset;
        self.pass_time();
        let seed = self.random.random();
        let fail = |disk: &SimDisk| disk.fail_at_random(seed, FAULTS, KEY_FAULTS);
        let answers = append_together(&self.disk, log, first.clone(), batches.clone(), fail);
        trimmed(log);
        self.disk.heal();
        // What could not be trimmed is trimmed now.
        trimmed(log);
        trimmed(log);
        let answered = [first].into_iter().chain(batches).zip(answers).collect();
        self.record(answered, kept_after..log.span().start.offset);
        self.trimmed = self.trimmed.max(log.span().start.offset);
    }

    /// Some minutes, and now and then the wall clock jumps.
    fn pass_time(&mut self) {
        self.machine.pass(HOUR / 60 * self.random.random_range(0..10));
        let by = HOUR * self.random.random_range(1..10_000);
        match self.random.random_range(0..12) {
            0 => self.machine.set(Wall::Ahead(by)),
            1 => self.machine.set(Wall::Behind(by)),
            2 | 3 => self.machine.set(Wall::Right),
            _ => {}
        }
    }

    /// Every publication says which it is; few keys are in use.
    fn next(&mut self) -> Publication {
        self.offered += 1;
        let size =
            if self.random.random_ratio(1, 20) { 2500 } else { self.random.random_range(0..120) };
        let text = format!("{} {}", self.offered, "x".repeat(size));
        let topic = ["a", "b"][self.random.random_range(0..2)];
        if self.random.random() {
            return publication(topic, &text);
        }
        let key =
            keyed(topic, &self.random.random_range(0..12).to_string()).key().cloned().unwrap();
        publication(topic, &text).with_key(key)
    }

    /// Takes notice of the answers to a group. Meanwhile, history was trimmed by this much.
    fn record(&mut self, group: Vec<(Vec<Publication>, Answer)>, trimmed: Range<Offset>) {
        let (done, mut all) = (self.disk.done(), Vec::new());
        for (batch, answer) in group {
            match answer {
                Ok(appended) => all.extend(batch.into_iter().zip(appended)),
                Err(AppendError::Full | AppendError::NoDescriptors | AppendError::Busy) => {}
                Err(_) => self.uncertain.extend(batch.iter().map(text)),
            }
        }
        // Batches that wait at the same time are stored in any order.
        all.sort_by_key(|(_, appended)| (appended.repeated, appended.position.offset));
        for (publication, appended) in all {
            if appended.repeated {
                // It may have been trimmed since, and stored again.
                let mut known = self.kept_with_key(&publication, trimmed.start);
                let is_known = known.any(|position| position == appended.position);
                assert!(is_known, "a key is known of what is stored");
            } else {
                let known = self.kept_with_key(&publication, trimmed.end).next();
                assert_eq!(known, None, "a key is stored once");
                self.stored.push(Stored { done, position: appended.position, publication });
            }
        }
    }

    fn kept_with_key(
        &self,
        publication: &Publication,
        after: Offset,
    ) -> impl Iterator<Item = Position> {
        let kept = self.stored.iter().filter(move |known| known.position.offset > after);
        let name = key_of(publication);
        let known = kept.filter(move |known| name.is_some() && key_of(&known.publication) == name);
        known.map(|known| known.position)
    }

    /// An orderly stop, while the disk may fail.
    fn stop(&mut self, log: DiskLog) {
        if self.random.random() {
            self.fail_at_random();
        }
        drop(log);
        self.disk.heal();
    }

    /// A loss of power: now, and in other images at any earlier moment.
    fn crash(&mut self, log: DiskLog) {
        for _ in 0..3 {
            let done = self.random.random_range(0..=self.disk.done());
            let image = self.disk.crash(done, &mut self.random);
            self.check_image(image, done);
        }
        let image = self.disk.crash(self.disk.done(), &mut self.random);
        drop(log);
        self.disk = SimDisk::with(image);
        self.stored.iter_mut().for_each(|stored| stored.done = 0);
    }

    /// The log has what was acknowledged, and what it has beside that becomes known.
    fn check(&mut self) {
        let content = self.disk.content();
        let kept = self.check_image(content, usize::MAX);
        for entry in kept {
            let publication = entry.publication.clone();
            if self.uncertain.remove(&text(&publication)) {
                // It may be in the memory of the operating system only, until the log is opened
                // again.
                self.stored.push(Stored {
                    done: usize::MAX,
                    position: entry.position,
                    publication,
                });
            }
        }
        self.stored.sort_by_key(|stored| stored.position.offset);
        // What is not there now must not come back.
        self.uncertain.clear();
    }

    fn check_image(&self, image: BTreeMap<String, Vec<u8>>, done: usize) -> Vec<Arc<Entry>> {
        let disk = SimDisk::with(image);
        let log = open(&disk, self.options.with_age(None)).unwrap();
        let kept = all(&log);
        let owed = self.stored.iter().filter(|stored| stored.done <= done);
        for owed in owed.filter(|stored| stored.position.offset > self.trimmed) {
            let found = kept.iter().filter(|entry| entry.publication == owed.publication);
            let positions: Vec<_> = found.map(|entry| entry.position).collect();
            assert_eq!(positions, [owed.position], "an acknowledged entry is there once");
        }
        let (mut texts, mut names) = (HashSet::new(), HashSet::new());
        for entry in &kept {
            let text = text(&entry.publication);
            let known = self.stored.iter().any(|stored| stored.publication == entry.publication);
            assert!(known || self.uncertain.contains(&text), "{text:.9} was refused, and is there");
            assert!(texts.insert(text), "an entry is there once");
            let name = key_of(&entry.publication);
            assert!(name.is_none_or(|name| names.insert(name)), "a key is stored once");
        }
        drop(log);
        assert_eq!(verify(&disk), []);
        kept
    }
}

/// Waits until history is trimmed after the previous commit: the next append returns after that.
fn trimmed(log: &DiskLog) {
    let _ = wait(log.append(Vec::new()));
}

fn key_of(publication: &Publication) -> Option<(Topic, IdempotencyKey)> {
    publication.key().map(|key| (publication.topic().clone(), key.clone()))
}

fn text(publication: &Publication) -> String {
    publication.event().data().unwrap_or_default().to_owned()
}

/// The seeds of random runs: the variable of this name sets how many, and `CARAFE_TEST_SEED` the
/// first.
pub(crate) fn seeds(first: u64, (name, count): (&str, u64)) -> Range<u64> {
    let number =
        |name, default| std::env::var(name).map_or(default, |number| number.parse().unwrap());
    let first = number("CARAFE_TEST_SEED", first);
    first..first + number(name, count)
}

#[test]
fn acknowledgements_hold_under_all_disk_faults() {
    let seeds = seeds(SEED, ("CARAFE_TEST_LIVES", LIVES));
    println!("seeds {seeds:?}");
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let seeds = seeds.clone().skip(thread).step_by(threads);
            scope.spawn(move || {
                for seed in seeds {
                    let lived = std::panic::catch_unwind(|| Life::new(seed).live());
                    assert!(lived.is_ok(), "the life of seed {seed} has failed");
                }
            });
        }
    });
}
