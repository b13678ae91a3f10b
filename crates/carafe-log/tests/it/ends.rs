//! Ends, stops and reopened topics on the disk.

use std::collections::BTreeMap;

use carafe_log::contract::helpers::{
    append, append_one, positions, publication, supplied, topic, wait,
};
use carafe_log::{
    Append, AppendAt, AppendError, DiskLog, Erase, Kind, Outcome, Publication, Read, Removed,
    TopicState,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::disk::{all, open, segments, small_segments, verify};
use crate::faults::append_together;
use crate::sim::{Call, Errno, Fault, SimDisk};

const SEED: u64 = 0xE4D;

/// What the log says of the topics "0" to "39".
fn states(log: &DiskLog) -> Vec<TopicState> {
    (0..40).map(|number| log.topic_state(&topic(&number.to_string()))).collect()
}

/// A log of several segments, in which topics have ended, were stopped and were reopened.
fn eventful(disk: &SimDisk) -> Vec<TopicState> {
    let log = open(disk, small_segments()).unwrap();
    for number in 0..40 {
        let name = number.to_string();
        append_one(&log, publication(&name, &"x".repeat(100)));
        match number % 4 {
            0 => append_one(&log, Publication::end(topic(&name), Outcome::ALL[number / 4 % 3])),
            1 => append_one(&log, Publication::stop(topic(&name)).with_data("enough")),
            2 => append(
                &log,
                vec![
                    Publication::end(topic(&name), Outcome::Done).with_private(true),
                    publication(&name, &"y".repeat(200)).with_reopening(true),
                ],
            )[1],
            _ => append_one(&log, Publication::end(topic(&name), Outcome::Done).with_private(true)),
        };
    }
    states(&log)
}

#[test]
fn ends_and_stops_survive_closing_and_opening() {
    let disk = SimDisk::default();
    let before = eventful(&disk);
    assert!(segments(&disk).len() > 3, "several segments");
    let of_kind = |is: fn(&TopicState) -> bool| before.iter().filter(|state| is(state)).count();
    assert_eq!(of_kind(|state| state.end.is_some_and(|end| !end.private)), 10);
    assert_eq!(of_kind(|state| state.end.is_some_and(|end| end.private)), 10);
    assert_eq!(of_kind(|state| state.stop.is_some()), 10);
    assert_eq!(states(&open(&disk, small_segments()).unwrap()), before);
}

#[test]
fn opening_knows_ends_from_the_indexes_alone() {
    let disk = SimDisk::default();
    let before = eventful(&disk);
    let (mut content, names) = (disk.content(), segments(&disk));
    // Only the newest segment is scanned: nothing notices that the others are damaged.
    for name in &names[..names.len() - 1] {
        content.get_mut(name).unwrap()[60..].fill(0xff);
    }
    assert_eq!(states(&open(&SimDisk::with(content), small_segments()).unwrap()), before);
}

#[test]
fn ends_are_known_although_indexes_are_lost_or_damaged_anywhere() {
    println!("seed {SEED:#x}");
    let (disk, mut random) = (SimDisk::default(), StdRng::seed_from_u64(SEED));
    let before = eventful(&disk);
    let is_index = |name: &String| name.ends_with(".index");
    for _ in 0..300 {
        let mut content = disk.content();
        let names: Vec<_> = content.keys().filter(|name| is_index(name)).cloned().collect();
        for name in names {
            let bytes = content.get_mut(&name).unwrap();
            let at = random.random_range(0..bytes.len());
            match random.random_range(0..4) {
                0 => bytes.truncate(at),
                1 => bytes[at..].fill(0),
                2 => bytes.extend_from_slice(&[0; 8]),
                _ => drop(content.remove(&name)),
            }
        }
        assert_eq!(states(&open(&SimDisk::with(content), small_segments()).unwrap()), before);
    }
}

#[test]
fn every_kind_of_entry_is_read_back_as_it_was_written() {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments()).unwrap();
    let kinds = [
        // Before all that it would erase.
        Kind::Erase(Erase::Before),
        Kind::Erase(Erase::One(u64::MAX)),
        Kind::Erase(Erase::Event { offset: u64::MAX, nonce: 0xbeef }),
        Kind::Event,
        Kind::End(Outcome::Done),
        Kind::End(Outcome::Failed),
        Kind::End(Outcome::Cancelled),
        Kind::Stop,
        Kind::Removed(Removed::Erased),
        Kind::Removed(Removed::Compacted),
    ];
    let publication = |number: u64, kind| {
        publication("a", "why").with_kind(kind).with_private(number.is_multiple_of(2))
    };
    let entries: Vec<_> = (1..)
        .zip(kinds)
        .map(|(number, kind)| supplied(&log, number, publication(number, kind)))
        .chain([supplied(&log, 11, publication(11, Kind::Event).with_reopening(true))])
        .collect();
    wait(log.append_at(entries.clone())).unwrap();
    let read =
        |log: &DiskLog| all(log).iter().map(|entry| entry.publication.clone()).collect::<Vec<_>>();
    let written: Vec<_> = entries.into_iter().map(|entry| entry.publication).collect();
    assert_eq!(read(&log), written);
    drop(log);
    assert_eq!(read(&open(&disk, small_segments()).unwrap()), written);
    assert_eq!(verify(&disk), []);
}

#[test]
fn verify_compares_the_control_entries_of_an_index() {
    let disk = SimDisk::default();
    eventful(&disk);
    assert_eq!(verify(&disk), []);
    let mut content = disk.content();
    let (name, bytes) = content.iter_mut().find(|(name, _)| name.ends_with(".index")).unwrap();
    let (name, last_of_control) = (name.clone(), bytes.len() - 5);
    bytes[last_of_control] ^= 1;
    let findings = verify(&SimDisk::with(content));
    assert_eq!(findings.iter().map(|finding| &finding.file).collect::<Vec<_>>(), [&name]);
}

#[test]
fn the_reason_of_an_end_takes_no_room_in_an_index() {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments()).unwrap();
    let reason = "why ".repeat(10_000);
    let end = Publication::end(topic("a"), Outcome::Failed).with_data(&reason);
    let at = append_one(&log, end.with_private(true));
    append_one(&log, Publication::stop(topic("b")).with_data(&reason));
    append_one(&log, publication("c", "begins another segment"));
    drop(log);
    let is_index = |(name, bytes): (String, Vec<u8>)| name.ends_with(".index").then_some(bytes);
    let indexes: Vec<_> = disk.content().into_iter().filter_map(is_index).collect();
    assert!(indexes.len() >= 2 && indexes.iter().all(|bytes| bytes.len() < 1000));
    let log = open(&disk, small_segments()).unwrap();
    let end = log.topic_state(&topic("a")).end.unwrap();
    assert_eq!((end.position, end.outcome, end.private), (at, Outcome::Failed, true));
    assert!(log.topic_state(&topic("b")).stop.is_some());
    assert!(all(&log)[..2].iter().all(|entry| entry.data() == reason), "readers get it");
}

#[test]
fn the_log_remembers_as_many_ends_as_it_may_and_more_after_they_are_trimmed() {
    let disk = SimDisk::default();
    let bytes = 4 * u64::from(small_segments().segment_size());
    let log = open(&disk, small_segments().with_bytes(bytes).with_ended_topics(3)).unwrap();
    let end = |name: &str| Publication::end(topic(name), Outcome::Done);
    append(&log, vec![end("a"), end("b"), Publication::stop(topic("c"))]);
    let refused = Err(AppendError::TooManyEnded { limit: 3 });
    assert_eq!(wait(log.append(vec![publication("d", ""), end("d")])), refused);
    assert_eq!(wait(log.append(vec![Publication::stop(topic("d"))])), refused);
    append(&log, vec![end("c"), end("a"), publication("d", "events are not limited")]);
    while log.topic_state(&topic("a")).end.is_some() {
        append_one(&log, publication("filler", &"x".repeat(500)));
    }
    append_one(&log, end("d"));
}

#[test]
fn jobs_of_one_commit_are_decided_in_their_order() {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments()).unwrap();
    let end = || vec![Publication::end(topic("a"), Outcome::Done)];
    let late = || vec![publication("a", "late")];
    let again = || vec![publication("a", "again").with_reopening(true)];
    let batches = vec![late(), end(), late(), end(), again(), late()];
    let answers = append_together(&disk, &log, vec![publication("b", "")], batches, |_| {});
    let position = |at: usize| answers[at].as_ref().unwrap()[0].position;
    let repeated = |at: usize| answers[at].as_ref().unwrap()[0].repeated;
    let ended = AppendError::Ended {
        topic: topic("a"),
        outcome: Outcome::Done,
        position: Some(position(2)),
    };
    assert_eq!(answers[3], Err(ended));
    assert_eq!((position(4), repeated(4)), (position(2), true));
    let stored = [0, 1, 2, 5, 6].map(position);
    assert_eq!(positions(&all(&log)), stored);
    assert_eq!(log.topic_state(&topic("a")), TopicState::default());
}

#[test]
fn an_end_that_was_not_stored_refuses_nothing() {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments()).unwrap();
    append_one(&log, publication("a", "first"));
    let batches =
        vec![vec![Publication::end(topic("a"), Outcome::Done)], vec![publication("a", "late")]];
    let no_space = |disk: &SimDisk| {
        disk.fail_once(Call::Write, 0, Fault::Error(Errno::NoSpace));
    };
    let answers = append_together(&disk, &log, vec![publication("b", "")], batches, no_space);
    assert!(answers[0].is_ok());
    assert_eq!(answers[1], Err(AppendError::Full));
    assert_eq!(answers[2], Err(AppendError::Full), "it is not told of an end that does not exist");
    assert_eq!(log.topic_state(&topic("a")), TopicState::default());
    append_one(&log, publication("a", "goes on"));
}

/// The log as an older program would have written it: all its entries are plain events.
fn of_version_1(mut content: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    content.retain(|name, _| name.ends_with(".segment") || name == "clean");
    for (_, bytes) in content.iter_mut().filter(|(name, _)| name.ends_with(".segment")) {
        bytes[8] = 1;
        let sum = crc32c::crc32c(&bytes[..44]);
        bytes[44..48].copy_from_slice(&sum.to_le_bytes());
    }
    content
}

fn version_of(bytes: &[u8]) -> u8 {
    bytes[8]
}

#[test]
fn a_log_of_version_1_continues_in_a_segment_that_older_programs_refuse() {
    for entries in [0, 1, 3, 200] {
        let disk = SimDisk::default();
        let log = open(&disk, small_segments()).unwrap();
        let before: Vec<_> =
            (0..entries).map(|_| append_one(&log, publication("a", "event"))).collect();
        let start = log.span().start;
        drop(log);
        let old = of_version_1(disk.content());
        let disk = SimDisk::with(old.clone());
        let log = open(&disk, small_segments()).unwrap();
        assert_eq!((log.span().start, positions(&all(&log))), (start, before.clone()));
        let end = append_one(&log, Publication::end(topic("a"), Outcome::Done));
        assert_eq!(end.generation, start.generation, "it goes on in its generation");
        drop(log);
        let content = disk.content();
        let mut versions: Vec<_> = content
            .iter()
            .filter(|(name, _)| name.ends_with(".segment"))
            .map(|(_, bytes)| version_of(bytes))
            .collect();
        assert_eq!(versions.pop(), Some(3));
        assert!(versions.iter().all(|version| *version == 1), "{versions:?}");
        assert_eq!(versions.len(), segments(&SimDisk::with(old)).len() - usize::from(entries == 0));
        let log = open(&disk, small_segments()).unwrap();
        assert_eq!(positions(&all(&log)), [before, vec![end]].concat());
        assert_eq!(log.topic_state(&topic("a")).end.unwrap().position, end);
        drop(log);
        assert_eq!(verify(&disk), []);
    }
}

#[test]
fn a_log_of_version_1_is_whole_whenever_the_machine_stops_while_it_is_opened() {
    println!("seed {SEED:#x}");
    let mut random = StdRng::seed_from_u64(SEED);
    for entries in [0, 2, 60] {
        let disk = SimDisk::default();
        let log = open(&disk, small_segments()).unwrap();
        let before: Vec<_> =
            (0..entries).map(|_| append_one(&log, publication("a", "event"))).collect();
        let tail = log.span().tail;
        drop(log);
        let disk = SimDisk::with(of_version_1(disk.content()));
        let log = open(&disk, small_segments()).unwrap();
        for _ in 0..2000 {
            let done = random.random_range(0..=disk.done());
            let crash = SimDisk::with(disk.crash(done, &mut random));
            let log = open(&crash, small_segments()).unwrap();
            assert_eq!(positions(&all(&log)), before, "after {done} operations");
            if entries > 0 {
                assert_eq!(log.span().tail, tail);
            }
        }
        drop(log);
    }
}
