//! Erased events leave the disk, whatever happens meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use carafe_log::contract::Factory;
use carafe_log::contract::helpers::{
    append, append_one, before_last, data, pattern, positions, publication, settle, topic,
    try_read_all, wait,
};
use carafe_log::contract::latest::agrees_with;
use carafe_log::{
    Access, Append, AppendError, DiskLog, DiskOptions, Entry, Erase, LatestQuery, Outcome,
    Publication, Read, TopicState,
};
use carafe_protocol::{Generation, Offset, TopicMatcher};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::crash::crashes;
use crate::disk::{all, open, small_segments, verify};
use crate::sim::{Call, Errno, Fault, SimDisk, Sync};

/// A log that carries erasures out at once.
struct Rewriting;

impl Factory for Rewriting {
    type Log = DiskLog;

    fn roomy() -> DiskLog {
        open(&SimDisk::default(), at_once()).unwrap()
    }

    fn supplied() -> DiskLog {
        open(&SimDisk::default(), at_once().with_supplied(Generation::new(7))).unwrap()
    }

    fn tight() -> DiskLog {
        let bytes = 4 * u64::from(at_once().segment_size());
        open(&SimDisk::default(), at_once().with_bytes(bytes)).unwrap()
    }
}

mod contract {
    use super::Rewriting;

    carafe_log::contract::tests!(Rewriting);
}

pub(crate) fn at_once() -> DiskOptions {
    small_segments().with_erase_within(Duration::ZERO)
}

fn later() -> DiskOptions {
    small_segments()
}

pub(crate) fn erasure(of: &str) -> Publication {
    Publication::erase(topic(of), Erase::Before)
}

fn has(files: &BTreeMap<String, Vec<u8>>, text: &str) -> bool {
    files.values().any(|bytes| find(bytes, text).is_some())
}

fn find(bytes: &[u8], text: &str) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text.as_bytes())
}

/// Waits for what another thread does. The test hangs if that never happens.
fn until(log: &DiskLog, mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        // Gives the writer a turn: it seals segments between commits.
        settle(log);
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn until_carried_out(log: &DiskLog) {
    until(log, || log.waiting_erasures().count == 0);
}

/// Segments with secrets, and events of another topic.
fn with_secrets(disk: &SimDisk, options: DiskOptions) -> DiskLog {
    let log = open(disk, options).unwrap();
    for number in 0..40 {
        append_one(&log, publication("a", &format!("secret-{number}-{}", "x".repeat(100))));
        append_one(&log, publication("b", &format!("other-{number}-{}", "y".repeat(100))));
    }
    log
}

/// The same, with all secrets in sealed segments whose indexes are written.
pub(crate) fn with_sealed_secrets(disk: &SimDisk, options: DiskOptions) -> DiskLog {
    let log = with_secrets(disk, options);
    for _ in 0..60 {
        append_one(&log, publication("b", &"z".repeat(100)));
    }
    let count = |end| disk.content().keys().filter(|name| name.ends_with(end)).count();
    until(&log, || count(".filter") + 1 == count(".segment"));
    log
}

fn others(log: &DiskLog) -> usize {
    let entries = all(log);
    entries.iter().filter(|entry| entry.data().starts_with("other-")).count()
}

#[test]
fn erased_events_leave_the_disk_and_all_others_stay() {
    let disk = SimDisk::default();
    let log = with_secrets(&disk, at_once());
    let before = positions(&all(&log));
    assert!(has(&disk.content(), "secret-"));
    let erasure = append_one(&log, erasure("a"));
    until_carried_out(&log);
    assert!(!has(&disk.content(), "secret-"));
    assert_eq!(others(&log), 40);
    assert_eq!(positions(&all(&log)), [before, vec![erasure]].concat());
    drop(log);
    assert_eq!(verify(&disk), []);
    assert_eq!(others(&open(&disk, later()).unwrap()), 40);
}

#[test]
fn one_erased_event_leaves_the_disk() {
    let disk = SimDisk::default();
    let log = with_secrets(&disk, at_once());
    let entries = all(&log);
    let one = entries.iter().find(|entry| entry.data().starts_with("secret-7-")).unwrap();
    append_one(&log, Publication::erase(topic("a"), Erase::One(one.offset())));
    until_carried_out(&log);
    assert!(!has(&disk.content(), "secret-7-"));
    assert!((0..40).filter(|n| *n != 7).all(|n| has(&disk.content(), &format!("secret-{n}-"))));
}

#[test]
fn a_log_that_is_opened_again_carries_out_what_was_left() {
    let disk = SimDisk::default();
    let log = with_secrets(&disk, later());
    append_one(&log, erasure("a"));
    assert_eq!(log.waiting_erasures().count, 1);
    drop(log);
    assert!(has(&disk.content(), "secret-"));
    let log = open(&disk, later()).unwrap();
    assert_eq!((log.waiting_erasures().count, others(&log)), (1, 40));
    assert!(!all(&log).iter().any(|entry| entry.data().starts_with("secret-")));
    assert_eq!(before_last(&log, 1, &[topic("a").into()]), log.span().start);
    drop(log);
    let log = open(&disk, at_once()).unwrap();
    until_carried_out(&log);
    assert!(!has(&disk.content(), "secret-"));
}

#[test]
fn a_search_that_began_before_a_segment_was_written_again_finds_what_it_would_have_found() {
    let disk = SimDisk::default();
    let log = with_sealed_secrets(&disk, at_once());
    let b = [topic("b").into()];
    let expected = before_last(&log, 100, &b);
    // Polled once, so that it has its view.
    let mut search = log.before_last(100, b.to_vec(), Access::all());
    append_one(&log, erasure("a"));
    until_carried_out(&log);
    assert_eq!(wait(search.as_mut()), Ok(expected));
}

#[test]
fn searches_find_what_can_be_read_while_erasures_wait() {
    let disk = SimDisk::default();
    let log = open(&disk, later()).unwrap();
    let of = |number: usize| topic(&format!("t/{number}"));
    for number in 0..300 {
        let event = publication("other", "").with_alternates([of(number % 100)]);
        append_one(
            &log,
            if number % 3 == 0 { event } else { publication(of(number % 100).as_str(), "") },
        );
    }
    drop(log);
    // Opened again, so that the indexes are files.
    let log = open(&disk, later()).unwrap();
    let erase = |numbers: std::ops::Range<usize>| {
        append(&log, numbers.map(|number| Publication::erase(of(number), Erase::Before)).collect());
    };
    erase(0..3);
    searches_find_what_can_be_read(&log);
    erase(10..90);
    searches_find_what_can_be_read(&log);
    append(&log, (0..100).map(|number| publication(of(number).as_str(), "later")).collect());
    append_one(&log, Publication::erase(of(5), Erase::One(6)));
    erase(80..85);
    searches_find_what_can_be_read(&log);
}

fn searches_find_what_can_be_read(log: &DiskLog) {
    assert!(log.waiting_erasures().count > 0);
    let mut events = all(log);
    events.retain(|entry| entry.publication.counts());
    let topics = ["t/1", "t/5", "t/50", "t/83", "t/99", "other"].map(|of| vec![topic(of).into()]);
    for wanted in [vec![TopicMatcher::any()], vec![pattern("t/:number")]].into_iter().chain(topics)
    {
        let query = LatestQuery::of(wanted.clone()).with_access(Access::all());
        agrees_with(log, &events, &query);
        agrees_with(log, &events, &query.with_count(3));
        let matches = |entry: &&Arc<Entry>| entry.publication.matches(&wanted);
        let matching: Vec<_> = events.iter().filter(matches).map(|entry| entry.offset()).collect();
        for count in [1, 2, 7, 400] {
            let from = before_last(log, count, &wanted).offset;
            let found = matching.iter().filter(|offset| **offset > from).count();
            assert_eq!(found, count.min(matching.len()), "{wanted:?}");
        }
    }
}

#[test]
fn erasures_are_refused_while_too_many_wait() {
    let disk = SimDisk::default();
    let log = with_sealed_secrets(&disk, later().with_erasures(2));
    // No segment can be replaced, so the erasures wait.
    disk.fail_all(Call::Rename, Fault::Error(Errno::Io));
    append(&log, vec![erasure("a"), erasure("b")]);
    let refused = Err(AppendError::TooManyErasures { limit: 2 });
    assert_eq!(wait(log.append(vec![publication("a", ""), erasure("c")])), refused);
    append_one(&log, publication("a", "events are still stored"));
}

#[test]
fn a_rewrite_that_fails_is_tried_again_and_loses_nothing() {
    use Call::{Create, Remove, Rename, SyncFile, SyncNames, Truncate, Write};
    let calls = [Create, Write, Write, SyncFile, Truncate, Remove, Remove, SyncNames, Rename];
    for (number, call) in calls.into_iter().chain([SyncNames, Create, Rename]).enumerate() {
        let disk = SimDisk::default();
        let log = with_sealed_secrets(&disk, at_once());
        let errno = if number % 2 == 0 { Errno::NoSpace } else { Errno::Io };
        // The first of these calls that the rewriter makes, or the second.
        let earlier = usize::from(number >= 9 || (number > 0 && calls[number - 1] == call));
        append_one(&log, erasure("a"));
        disk.fail_once(call, earlier, Fault::Error(errno));
        until_carried_out(&log);
        disk.heal();
        assert!(!has(&disk.content(), "secret-"), "{call:?}");
        assert_eq!(others(&log), 40, "{call:?}");
        append_one(&log, publication("b", "goes on"));
        drop(log);
        let verified = verify(&disk);
        assert_eq!(verified, [], "{call:?}");
    }
}

#[test]
fn a_damaged_segment_is_left_as_it_is_and_others_are_rewritten() {
    let disk = SimDisk::default();
    drop(with_sealed_secrets(&disk, later()));
    let mut files = disk.content();
    let damaged = files
        .iter_mut()
        .find(|(name, bytes)| name.ends_with(".segment") && find(bytes, "secret-0-").is_some());
    let (name, bytes) = damaged.unwrap();
    let (name, at) = (name.clone(), find(bytes, "secret-0-").unwrap());
    bytes[at] ^= 1;
    let bytes = bytes.clone();
    let disk = SimDisk::with(files);
    let log = open(&disk, at_once()).unwrap();
    append_one(&log, erasure("a"));
    let rest = || disk.content().into_iter().filter(|(other, _)| *other != name).collect();
    until(&log, || !has(&rest(), "secret-"));
    assert_eq!(disk.content()[&name], bytes);
    assert_eq!(log.waiting_erasures().count, 1);
    append_one(&log, publication("b", "goes on"));
}

/// The index of the rewritten segment knows that the erased event has reopened the topic.
#[test]
fn a_topic_stays_open_although_the_event_that_has_reopened_it_was_erased() {
    let disk = SimDisk::default();
    let log = open(&disk, at_once()).unwrap();
    append_one(&log, publication("a", "first"));
    append_one(&log, Publication::end(topic("a"), Outcome::Done));
    append_one(&log, publication("a", "secret of the second life").with_reopening(true));
    append_one(&log, erasure("a"));
    until_carried_out(&log);
    assert!(!has(&disk.content(), "secret"));
    append_one(&log, publication("a", "goes on"));
    drop(log);
    for has_indexes in [true, false] {
        let mut content = disk.content();
        content.retain(|name, _| has_indexes || !name.ends_with(".index"));
        let log = open(&SimDisk::with(content), at_once()).unwrap();
        assert_eq!(log.topic_state(&topic("a")), TopicState::default());
        append_one(&log, publication("a", "goes on"));
    }
}

/// Crash images that are looked at; `CARAFE_TEST_CRASHES` sets another number, as for the others.
const CRASHES: usize = 3000;
const SEED: u64 = 0xE2A5;

/// The life of a log whose topics are erased now and then.
struct Life {
    disk: SimDisk,
    random: StdRng,
    /// Acknowledged entries, each with how much was done to the disk by then.
    stored: Vec<(usize, Arc<Entry>)>,
    /// Acknowledged erasures, with their topic.
    erased: Vec<(usize, String, Offset)>,
    /// When their events had left the disk.
    gone: Vec<(usize, String, Offset)>,
}

impl Life {
    fn live(disk: SimDisk, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let mut life =
            Self { disk, random, stored: Vec::new(), erased: Vec::new(), gone: Vec::new() };
        for _ in 0..4 {
            let log = open(&life.disk, at_once().with_segment_bytes(1024)).unwrap();
            for _ in 0..3 {
                (0..8).for_each(|_| life.append(&log));
                life.erase(&log);
            }
        }
        life
    }

    fn append(&mut self, log: &DiskLog) {
        let number = self.stored.len();
        let to = ["a", "b", "c"][self.random.random_range(0..3)];
        let padding = "x".repeat(self.random.random_range(0..200));
        append_one(log, publication(to, &format!("secret-{to}-{number}-{padding}")));
        let done = self.disk.done();
        let entry = all(log).pop().unwrap();
        self.stored.push((done, entry));
    }

    fn erase(&mut self, log: &DiskLog) {
        let of = ["a", "b", "c"][self.random.random_range(0..3)].to_owned();
        let at = append_one(log, erasure(&of)).offset;
        self.erased.push((self.disk.done(), of.clone(), at));
        // Else further events are published meanwhile.
        if self.random.random() {
            until_carried_out(log);
            let all = self.erased.iter().map(|(_, of, at)| (self.disk.done(), of.clone(), *at));
            self.gone = all.collect();
        }
    }

    /// What is wrong with the log that is opened after a crash, if anything is.
    fn survives(&self, image: BTreeMap<String, Vec<u8>>, done: usize) -> Result<(), String> {
        self.leaves_nothing(&image, done)?;
        let disk = SimDisk::with(image);
        let log = open(&disk, later().with_segment_bytes(1024)).map_err(|it| it.to_string())?;
        let kept = try_read_all(&log, log.span().start.offset, &[TopicMatcher::any()]);
        let kept = kept.map_err(|error| error.to_string())?;
        let find = |entry: &Entry| kept.iter().find(|kept| kept.position == entry.position);
        for (_, entry) in self.stored.iter().filter(|(at, _)| *at <= done) {
            let Some(found) = find(entry) else {
                return Err(format!("acknowledged entry {} is lost", entry.offset()));
            };
            let (must, may) = (self.is_erased(entry, done), self.is_erased(entry, usize::MAX));
            let is_erased = found.publication == entry.erased().publication;
            if !(is_erased && may) && (must || found.publication != entry.publication) {
                return Err(format!("entry {} is {found:?}", entry.offset()));
            }
        }
        drop(log);
        let findings = verify(&disk);
        if findings.is_empty() { Ok(()) } else { Err(format!("{findings:?}")) }
    }

    fn is_erased(&self, entry: &Entry, done: usize) -> bool {
        self.erased.iter().any(|(at, of, offset)| {
            *at <= done && entry.topic().as_str() == of && entry.offset() < *offset
        })
    }

    /// What has left the disk does not come back.
    fn leaves_nothing(&self, image: &BTreeMap<String, Vec<u8>>, done: usize) -> Result<(), String> {
        for (_, of, offset) in self.gone.iter().filter(|(at, ..)| *at <= done) {
            let gone = |(_, entry): &&(usize, Arc<Entry>)| {
                entry.topic().as_str() == of && entry.offset() < *offset
            };
            let mut gone = self.stored.iter().filter(gone).map(|(_, entry)| entry);
            if let Some(entry) = gone.find(|entry| has(image, entry.data())) {
                return Err(format!("erased entry {} came back", entry.offset()));
            }
        }
        Ok(())
    }
}

#[test]
fn after_any_crash_during_a_rewrite_nothing_is_lost_and_nothing_erased_comes_back() {
    println!("seed {SEED:#x}");
    let mut life = Life::live(SimDisk::default(), SEED);
    for _ in 0..crashes(CRASHES) {
        let done = life.random.random_range(0..=life.disk.done());
        let image = life.disk.crash(done, &mut life.random);
        assert_eq!(life.survives(image, done), Ok(()), "after {done} operations");
    }
}

/// The test above would find it.
#[test]
fn leaving_out_any_sync_of_a_rewrite_loses_something() {
    for sync in [Sync::Rewritten, Sync::Unindexed, Sync::Replaced] {
        let mut life = Life::live(SimDisk::leaving_out(sync), SEED);
        let lost = (0..20_000).find_map(|_| {
            let done = life.random.random_range(0..=life.disk.done());
            let image = life.disk.crash(done, &mut life.random);
            life.survives(image, done).err()
        });
        println!("without {sync:?}: {lost:?}");
        assert!(lost.is_some(), "without {sync:?}, nothing was lost");
    }
}

#[test]
fn what_is_read_by_topic_is_right_after_a_rewrite() {
    let disk = SimDisk::default();
    let log = with_sealed_secrets(&disk, at_once());
    let matchers: [TopicMatcher; 1] = [topic("b").into()];
    let before = try_read_all(&log, 0, &matchers).unwrap();
    append_one(&log, erasure("a"));
    until_carried_out(&log);
    let after = try_read_all(&log, 0, &matchers).unwrap();
    assert_eq!(data(&after), data(&before));
}
