//! Logs that are supplied with what was ordered elsewhere.

use std::time::Duration;

use carafe_log::contract::helpers::{append_one, find, keyed, publication, topic, wait};
use carafe_log::contract::ordered::{self, store};
use carafe_log::{
    AppendAt, AppendAtError, AppendError, Appended, Commit, DiskLog, DiskOptions, Entry, Erase,
    Find, MemoryLimits, MemoryLog, OpenError, OrderedCommit, Outcome, Publication, Read, ReadError,
};
use carafe_protocol::{Generation, Position};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::crash::crashes;
use crate::disk::{all, offline, open, segments, small_segments, verify};
use crate::erase::until_carried_out;
use crate::sim::{Call, Errno, Fault, SimDisk};

const SEED: u64 = 0x5EED;
const CRASHES: usize = 4000;
pub(crate) const GENERATION: Generation = Generation::new(7);

pub(crate) fn options() -> DiskOptions {
    small_segments().with_supplied(GENERATION)
}

/// A commit with this sequence, which is also its time in seconds.
pub(crate) fn commit(sequence: u64, batches: Vec<Vec<Publication>>) -> OrderedCommit {
    commit_at(sequence, sequence, batches)
}

/// A commit with this sequence, at this time in seconds.
pub(crate) fn commit_at(
    sequence: u64,
    seconds: u64,
    batches: Vec<Vec<Publication>>,
) -> OrderedCommit {
    ordered::commit(sequence, Duration::from_secs(seconds), batches)
}

pub(crate) fn sequence(position: Position) -> u64 {
    position.offset >> Commit::OFFSET_BITS
}

/// Commits of several batches. Some batches are known already, and some are refused.
pub(crate) fn random_commits(count: u64, random: &mut StdRng) -> Vec<OrderedCommit> {
    let mut next = || {
        let text = "x".repeat(random.random_range(0..60));
        let name = ["a", "b", "c"][random.random_range(0..3)];
        match random.random_range(0..12) {
            0 => Publication::end(topic(name), Outcome::Done),
            1 => publication(name, &text).with_reopening(true),
            2..6 => keyed(name, &random.random_range(0..20).to_string()),
            _ => publication(name, &text),
        }
    };
    let mut batch = |size| (0..size).map(|_| next()).collect::<Vec<_>>();
    (1..=count).map(|at| commit(at, vec![batch(1), batch(at % 3), batch(2)])).collect()
}

/// Supplies what the log does not have yet, some commits at a time.
pub(crate) fn fill(log: &DiskLog, commits: &[OrderedCommit]) {
    let applied = sequence(log.span().tail) as usize;
    for some in commits[applied..].chunks(3) {
        store(log, some.to_vec());
    }
}

pub(crate) fn entries(log: &DiskLog) -> Vec<Entry> {
    all(log).iter().map(|entry| Entry::clone(entry)).collect()
}

/// What a log has that was filled without any trouble.
pub(crate) fn expected(commits: &[OrderedCommit]) -> Vec<Entry> {
    let log = open(&SimDisk::default(), options()).unwrap();
    fill(&log, commits);
    entries(&log)
}

/// Whether the log has the first commits, each with all its entries.
pub(crate) fn has_first_commits(log: &DiskLog, expected: &[Entry]) -> bool {
    let (kept, last) = (entries(log), sequence(log.span().tail));
    let owed = expected.iter().take_while(|entry| sequence(entry.position) <= last);
    kept.iter().eq(owed)
}

#[test]
fn after_any_crash_a_log_has_whole_commits_and_is_filled_again_with_the_same_positions() {
    println!("seed {SEED:#x}");
    let mut random = StdRng::seed_from_u64(SEED);
    let commits = random_commits(80, &mut random);
    let expected = expected(&commits);
    let (disk, mut acknowledged) = (SimDisk::default(), Vec::new());
    for some in commits.chunks(20) {
        let log = open(&disk, options()).unwrap();
        for one in some.chunks(2) {
            store(&log, one.to_vec());
            acknowledged.push((disk.done(), log.span().tail));
        }
    }
    for _ in 0..crashes(CRASHES) {
        let done = random.random_range(0..=disk.done());
        let crashed = SimDisk::with(disk.crash(done, &mut random));
        let log = open(&crashed, options()).unwrap();
        let owed = acknowledged.iter().rev().find(|(at, _)| *at <= done).map(|(_, tail)| *tail);
        assert!(owed.is_none_or(|owed| log.span().tail.offset >= owed.offset), "after {done}");
        assert!(has_first_commits(&log, &expected), "after {done}");
        fill(&log, &commits);
        assert_eq!(entries(&log), expected, "after {done}");
        drop(log);
        assert_eq!(entries(&open(&crashed, options()).unwrap()), expected, "after {done}");
    }
}

#[test]
fn a_torn_end_begins_no_generation_and_no_segment() {
    let disk = SimDisk::default();
    let log = open(&disk, options()).unwrap();
    store(&log, vec![commit(1, vec![vec![publication("a", "kept")]])]);
    drop(log);
    let mut content = disk.content();
    content.remove("clean");
    let (_, segment) = content.iter_mut().find(|(name, _)| name.ends_with(".segment")).unwrap();
    let end = segment.iter().rposition(|byte| *byte != 0).unwrap();
    segment[end + 10..end + 20].copy_from_slice(b"torn bytes");
    let disk = SimDisk::with(content);
    let log = open(&disk, options()).unwrap();
    store(&log, vec![commit(2, vec![vec![publication("a", "again")]])]);
    assert!(all(&log).iter().all(|entry| entry.position.generation == GENERATION));
    drop(log);
    assert_eq!(segments(&disk).len(), 1);
    assert_eq!(all(&open(&disk, options()).unwrap()).len(), 2);
}

#[test]
fn a_log_is_opened_only_as_what_it_is() {
    let (own, supplied) = (SimDisk::default(), SimDisk::default());
    let log = open(&own, small_segments()).unwrap();
    append_one(&log, publication("a", "the user's"));
    drop(log);
    let log = open(&supplied, options()).unwrap();
    store(&log, vec![commit(1, vec![vec![publication("a", "")]])]);
    drop(log);
    let other = Generation::new(8);
    let cases = [
        (&own, options(), (Some(GENERATION), None), "it is a log of its own"),
        (&supplied, small_segments(), (None, Some(GENERATION)), "a cluster has filled it"),
        (&supplied, small_segments().with_supplied(other), (Some(other), Some(GENERATION)), "has"),
    ];
    for (disk, options, case, text) in cases {
        let before = disk.content();
        let error = open(disk, options).err().unwrap();
        assert!(error.to_string().contains(text), "{error}");
        let OpenError::OtherLog { expected, found } = error else { panic!("{error}") };
        assert_eq!((expected, found), case);
        assert!(disk.content() == before, "nothing is changed");
    }
}

#[test]
fn a_supplied_log_that_is_restored_keeps_its_generation() {
    let disk = SimDisk::default();
    let log = open(&disk, options()).unwrap();
    store(&log, vec![commit(1, vec![vec![publication("a", "")]])]);
    let tail = log.span().tail;
    drop(log);
    assert_eq!(offline(&disk).restore().unwrap(), tail);
    assert_eq!(open(&disk, options()).unwrap().span().tail, tail);
}

#[test]
fn what_was_there_before_an_empty_log_begins_is_trimmed() {
    let begin = (5 << Commit::OFFSET_BITS) - 1;
    let disk = SimDisk::default();
    let check = |log: &dyn Read| {
        let start = Position { generation: GENERATION, offset: begin, nonce: 0 };
        assert_eq!(log.span().start, start);
        let found = |position| wait(log.find(position)).unwrap();
        assert_eq!(found(start), Find::Found);
        assert_eq!(
            found(Position { offset: 3 << Commit::OFFSET_BITS, nonce: 9, ..start }),
            Find::Trimmed
        );
        assert_eq!(found(Position { offset: 0, ..start }), Find::Trimmed);
        let limit = carafe_log::BlockLimit { entries: 1, bytes: 1 };
        let read = wait(log.read(0, Vec::new(), limit));
        assert_eq!(read.err(), Some(ReadError::Trimmed { after: 0, start }));
    };
    let memory = MemoryLog::with_generation(MemoryLimits::default(), GENERATION);
    let memory = memory.beginning_after(begin);
    check(&memory);
    store(&memory, vec![commit(5, vec![vec![publication("a", "")]])]);
    check(&memory);
    let log = open(&disk, options().beginning_after(begin)).unwrap();
    check(&log);
    store(&log, vec![commit(5, vec![vec![publication("a", "")]])]);
    drop(log);
    check(&open(&disk, options().beginning_after(1)).unwrap());
}

#[test]
fn a_position_of_a_lost_event_is_not_taken_for_a_dropped_event_of_the_hub() {
    let log = MemoryLog::with_generation(MemoryLimits::default(), GENERATION);
    let of_hub = || vec![publication("presence", "").with_hub(true)];
    for at in 1..2000 {
        store(&log, vec![commit(at, vec![of_hub()])]);
    }
    let dropped = |at: u64| {
        let ordered = commit(at, vec![of_hub()]);
        let (offset, nonce) = (ordered.first, ordered.commit.nonce(0));
        Position { generation: GENERATION, offset, nonce }
    };
    assert_eq!(log.span().oldest.map(sequence), Some(1000), "those before are dropped");
    assert_eq!(find(&log, dropped(5)), Find::Found);
    let lost = Position { nonce: dropped(5).nonce ^ 1, ..dropped(5) };
    assert_eq!(find(&log, lost), Find::Foreign);
    assert_eq!(find(&log, Position { offset: lost.offset + 3, ..lost }), Find::Foreign);
}

#[test]
fn commits_far_apart_are_found_by_the_indexes_of_sealed_segments() {
    let disk = SimDisk::default();
    let log = open(&disk, options()).unwrap();
    let sequences: Vec<u64> = (1..60).map(|number| number << (number / 2)).collect();
    for at in &sequences {
        let batch = vec![keyed("a", &at.to_string()), publication("b", "twenty bytes of data")];
        store(&log, vec![commit_at(*at, 0, vec![batch])]);
    }
    let written = entries(&log);
    drop(log);
    let is_index = |name: &str| name.ends_with(".index");
    assert!(disk.content().keys().filter(|name| is_index(name)).count() > 3);
    let without_indexes = disk.content().into_iter().filter(|(name, _)| !is_index(name)).collect();
    for disk in [disk, SimDisk::with(without_indexes)] {
        let log = open(&disk, options()).unwrap();
        assert_eq!(entries(&log), written);
        assert!(written.iter().all(|entry| find(&log, entry.position) == Find::Found));
        let of_b = carafe_log::contract::helpers::read_all(&log, 0, &[topic("b").into()]);
        assert!(of_b.iter().map(|entry| &**entry).eq(written.iter().skip(1).step_by(2)));
        let again = sequences.iter().map(|at| keyed("a", &at.to_string())).collect();
        let answers = store(&log, vec![commit_at(u64::MAX >> 20, 1, vec![again])]);
        let known = written.iter().step_by(2).map(|entry| entry.position);
        let known = known.map(|position| Appended { position, repeated: true });
        assert_eq!(answers[0][0], Ok(known.collect()));
        drop(log);
        assert_eq!(verify(&disk), []);
    }
}

#[test]
fn a_topic_that_went_on_after_an_old_end_is_not_ended_when_the_log_is_opened_again() {
    let disk = SimDisk::default();
    let options =
        options().with_key_window(Duration::from_secs(10)).with_erase_within(Duration::ZERO);
    let log = open(&disk, options).unwrap();
    let ends = ["a", "b"].map(|name| Publication::end(topic(name), Outcome::Done));
    let goes_on = |data| vec![publication("a", data)];
    let commits = vec![commit(1, vec![ends.into()]), commit(20, vec![goes_on("new life")])];
    store(&log, commits);
    let check = |disk: &SimDisk| {
        let log = open(disk, options).unwrap();
        assert_eq!(log.topic_state(&topic("a")).end, None);
        assert!(log.topic_state(&topic("b")).end.is_some());
        log
    };
    drop(log);
    // From the newest segment, from the index of a sealed one, and from a segment that was written
    // again without the content of the event.
    let log = check(&disk);
    (21..60).for_each(|at| drop(store(&log, vec![commit(at, vec![goes_on("more")])])));
    drop(log);
    let log = check(&disk);
    let erasure = vec![Publication::erase(topic("a"), Erase::Before)];
    store(&log, vec![commit(60, vec![erasure])]);
    until_carried_out(&log);
    drop(log);
    check(&disk);
}

#[test]
fn a_log_of_its_own_takes_no_entry_that_its_index_cannot_hold() {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments()).unwrap();
    let tail = append_one(&log, publication("a", ""));
    let entry = |offset| {
        let position = Position { offset, nonce: 1, ..tail };
        Entry { position, time: log.clock().now(), publication: publication("a", "") }
    };
    let (near, far) = (tail.offset + u64::from(u32::MAX), tail.offset + (1 << 32));
    let refused = wait(log.append_at(vec![entry(far)]));
    assert_eq!(refused, Err(AppendAtError::TooFar { offset: far, tail: tail.offset }));
    assert_eq!(wait(log.append_at(vec![entry(near)])), Ok(()));
    assert_eq!(wait(log.append_at(vec![entry(far)])), Ok(()));
    assert_eq!(all(&log).len(), 3);
}

#[test]
fn a_commit_is_not_decided_while_its_keys_cannot_be_read() {
    let disk = SimDisk::default();
    let log = open(&disk, options()).unwrap();
    for number in 1..100 {
        let batch = vec![keyed("a", &number.to_string())];
        store(&log, vec![commit(number, vec![batch])]);
    }
    // Its index is in a file then.
    drop(log);
    let log = open(&disk, options()).unwrap();
    let before = log.span();
    disk.fail_all(Call::Read, Fault::Error(Errno::Io));
    let batches = vec![vec![publication("b", "")], vec![keyed("a", "3")]];
    let error = wait(log.append_ordered(vec![commit(100, batches.clone())])).unwrap_err();
    assert!(matches!(error, AppendAtError::Append(AppendError::Keys(_))), "{error}");
    assert_eq!(log.span(), before, "not even the batch that has no key");
    disk.heal();
    let answers = store(&log, vec![commit(100, batches)]);
    assert!(answers[0][1].as_ref().unwrap()[0].repeated);
}

#[test]
fn a_commit_that_finds_no_room_is_stored_later() {
    let disk = SimDisk::default();
    let log = open(&disk, options()).unwrap();
    let commits = || vec![commit(1, vec![vec![keyed("a", "k")], vec![keyed("a", "k")]])];
    disk.fail_once(Call::Write, 0, Fault::Short(10, Errno::NoSpace));
    let full = Err(AppendAtError::Append(AppendError::Full));
    assert_eq!(wait(log.append_ordered(commits())), full);
    let answers = store(&log, commits());
    assert!(!answers[0][0].as_ref().unwrap()[0].repeated, "nothing of the first attempt is known");
    assert_eq!(all(&log).len(), 1);
}

/// Calls fail at random, the log is opened again after a failure, and is filled on from its tail.
#[test]
fn whatever_the_disk_refuses_a_log_gets_all_commits_once_and_whole() {
    println!("seed {SEED:#x}");
    let mut random = StdRng::seed_from_u64(SEED);
    let (mut failed, mut later) = (0, 0);
    for _ in 0..40 {
        let commits = random_commits(60, &mut random);
        let (disk, expected) = (SimDisk::default(), expected(&commits));
        let mut log = open(&disk, options()).unwrap();
        disk.fail_at_random(random.random(), 12, 60);
        let mut applied = 0;
        while applied < commits.len() {
            let end = commits.len().min(applied + random.random_range(1..4));
            match wait(log.append_ordered(commits[applied..end].to_vec())) {
                Ok(_) => applied = end,
                Err(AppendAtError::Append(AppendError::Failed(_))) => {
                    failed += 1;
                    drop(log);
                    disk.heal();
                    log = open(&disk, options()).unwrap();
                    assert!(has_first_commits(&log, &expected));
                    applied = sequence(log.span().tail) as usize;
                    disk.fail_at_random(random.random(), 12, 60);
                }
                Err(AppendAtError::Append(_)) => later += 1,
                Err(error) => panic!("{error}"),
            }
        }
        drop(log);
        disk.heal();
        assert_eq!(entries(&open(&disk, options()).unwrap()), expected);
    }
    assert!(failed > 20 && later > 20, "{failed} failures, {later} refusals");
}

#[test]
fn no_commit_is_too_large_and_no_erasure_is_one_too_many() {
    let large = || vec![publication("a", &"x".repeat(50_000))];
    let small = MemoryLimits::default().with_bytes(1000);
    let memory = MemoryLog::with_generation(small, GENERATION);
    let answers = store(&memory, vec![commit(1, vec![large()])]);
    assert!(answers[0][0].is_ok());
    assert_eq!(memory.span().tail.offset, 1 << Commit::OFFSET_BITS, "and trimmed at once");
    let disk = SimDisk::default();
    let log = open(&disk, options().with_bytes(9000).with_erasures(1)).unwrap();
    let erasures = ["a", "b", "c"].map(|name| Publication::erase(topic(name), Erase::Before));
    let batches = vec![large(), erasures.to_vec(), large()];
    let answers = store(&log, vec![commit(1, batches)]);
    assert!(answers[0].iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(log.span().tail.offset, (1 << Commit::OFFSET_BITS) + 4);
}
