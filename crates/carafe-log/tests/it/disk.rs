//! The log on disk: the contract, and what is its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use carafe_log::contract::Factory;
use carafe_log::contract::helpers::{
    append, append_one, data, keyed, positions, publication, read_all, topic, wait,
};
use carafe_log::{
    Append, AppendError, Appended, BlockLimit, DiskLog, DiskOptions, Entry, Find, Finding,
    OfflineLog, OpenError, Publication, Read, Storage,
};
use carafe_protocol::{Generation, Position, Topic, TopicMatcher};

use crate::sim::{Call, Errno, Fault, SimDisk};

struct Disk;

impl Factory for Disk {
    type Log = DiskLog;

    fn roomy() -> DiskLog {
        open(&SimDisk::default(), small_segments()).unwrap()
    }

    fn supplied() -> DiskLog {
        open(&SimDisk::default(), small_segments().with_supplied(Generation::new(7))).unwrap()
    }

    fn tight() -> DiskLog {
        let bytes = 4 * u64::from(small_segments().segment_size());
        open(&SimDisk::default(), small_segments().with_bytes(bytes)).unwrap()
    }
}

carafe_log::contract::tests!(Disk);

pub(crate) fn small_segments() -> DiskOptions {
    DiskOptions::default().with_segment_bytes(2048).with_readers(1)
}

pub(crate) fn open(disk: &SimDisk, options: DiskOptions) -> Result<DiskLog, OpenError> {
    DiskLog::open_on(Arc::new(disk.clone()), options)
}

/// The log of a disk that no hub has open.
pub(crate) fn offline(disk: &SimDisk) -> OfflineLog {
    OfflineLog::on(Arc::new(disk.clone()))
}

pub(crate) fn verify(disk: &SimDisk) -> Vec<Finding> {
    offline(disk).verify(&mut |_, _| {}).unwrap()
}

/// The names of the files that hold entries.
pub(crate) fn segments(disk: &SimDisk) -> Vec<String> {
    disk.content().into_keys().filter(|name| name.ends_with(".segment")).collect()
}

pub(crate) fn all(log: &DiskLog) -> Vec<Arc<Entry>> {
    read_all(log, log.span().start.offset, &[TopicMatcher::any()])
}

#[test]
fn a_closed_log_stores_nothing_more_and_is_marked_as_complete() {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments()).unwrap();
    append_one(&log, publication("a", "before"));
    wait(log.close());
    assert_eq!(wait(log.append(vec![publication("a", "after")])), Err(AppendError::Closed));
    assert!(disk.content().contains_key("clean"), "before the log is dropped");
    assert_eq!(data(&all(&log)), ["before"]);
    drop(log);
    assert_eq!(data(&all(&open(&disk, small_segments()).unwrap())), ["before"]);
}

#[test]
fn what_was_appended_is_there_after_opening_again() {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments()).unwrap();
    for number in 0..200 {
        append_one(&log, publication(["a", "b"][number % 2], &number.to_string()));
    }
    let (before, span) = (all(&log), log.span());
    drop(log);
    let log = open(&disk, small_segments()).unwrap();
    assert_eq!((all(&log), log.span()), (before.clone(), span));
    assert!(before.iter().all(|entry| wait(log.find(entry.position)).unwrap() == Find::Found));
    let next = append_one(&log, publication("a", "next"));
    assert_eq!(
        (next.offset, next.generation),
        (201, span.tail.generation),
        "the same life goes on"
    );
}

#[test]
fn a_key_is_known_after_opening_again() {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments()).unwrap();
    let first = append_one(&log, keyed("a", "k"));
    for number in 0..200 {
        append_one(&log, keyed("a", &number.to_string()));
    }
    drop(log);
    let log = open(&disk, small_segments()).unwrap();
    assert_eq!(
        wait(log.append(vec![keyed("a", "k")])).unwrap(),
        [Appended { position: first, repeated: true }]
    );
    assert!(!wait(log.append(vec![keyed("b", "k")])).unwrap()[0].repeated);
}

#[test]
fn all_fields_are_kept() {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments()).unwrap();
    let full = keyed("a/\u{e9}", "k")
        .with_alternates(["b", "a/\u{e9}"].map(topic))
        .with_type(carafe_protocol::EventType::from_static("t"))
        .with_retry(std::time::Duration::from_millis(7))
        .with_private(true);
    append_one(&log, full.clone());
    append_one(&log, publication("a", "\u{0}\r\n\u{2615}"));
    drop(log);
    let read = all(&open(&disk, small_segments()).unwrap());
    assert_eq!(read[0].publication, full);
    assert_eq!(read[1].publication, publication("a", "\u{0}\r\n\u{2615}"));
}

/// Such topics are refused now, and were not always.
#[test]
fn a_topic_with_a_byte_order_mark_that_was_stored_is_still_read() {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments()).unwrap();
    let topic = Topic::stored("\u{feff}a").unwrap();
    append_one(&log, Publication::new(topic.clone(), "old"));
    drop(log);
    let log = open(&disk, small_segments()).unwrap();
    let stored = all(&log);
    assert_eq!(stored.iter().map(|entry| entry.publication.topic()).collect::<Vec<_>>(), [&topic]);
}

#[test]
fn an_entry_larger_than_a_segment_gets_one_of_its_own() {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments()).unwrap();
    let large = "x".repeat(10_000);
    append(&log, vec![publication("a", "before"), publication("a", &large)]);
    append_one(&log, publication("a", "after"));
    drop(log);
    assert_eq!(data(&all(&open(&disk, small_segments()).unwrap())), ["before", &large, "after"]);
}

#[test]
fn history_is_kept_by_bytes_by_count_and_by_age() {
    let fill = |options: DiskOptions| {
        let disk = SimDisk::default();
        let log = open(&disk, options).unwrap();
        for number in 0..500 {
            append_one(&log, publication("a", &number.to_string()));
        }
        drop(log);
        let bytes: usize = disk.content().values().map(Vec::len).sum();
        (all(&open(&disk, options).unwrap()).len(), bytes)
    };
    assert_eq!(fill(small_segments()).0, 500);
    let (kept, bytes) = fill(small_segments().with_bytes(10_000));
    assert!(kept < 200 && bytes < 13_000, "{kept} entries in {bytes} bytes");
    let (kept, _) = fill(small_segments().with_entries(100));
    assert!((100..150).contains(&kept), "{kept} entries");
    let (kept, _) = fill(small_segments().with_age(std::time::Duration::ZERO));
    assert!(kept < 500, "{kept} entries");
}

#[test]
fn a_folder_is_opened_by_one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = DiskLog::open(&path, small_segments()).unwrap();
    let position = append_one(&log, publication("a", "x"));
    let error = DiskLog::open(&path, small_segments()).err().unwrap();
    assert!(error.to_string().contains("another process has this log open"), "{error}");
    drop(log);
    let log = DiskLog::open(&path, small_segments()).unwrap();
    assert_eq!(positions(&all(&log)), [position]);
}

#[test]
fn a_full_disk_refuses_publishers_serves_readers_and_recovers_by_itself() {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments()).unwrap();
    disk.set_room(10_000);
    let fill = |acknowledged: &mut Vec<Position>| {
        for number in 0..200 {
            match wait(log.append(vec![publication("a", &number.to_string())])) {
                Ok(appended) => acknowledged.push(appended[0].position),
                Err(error) => return Some(error),
            }
        }
        None
    };
    let mut acknowledged = Vec::new();
    assert_eq!(fill(&mut acknowledged), Some(AppendError::Full));
    assert_eq!(fill(&mut acknowledged), Some(AppendError::Full), "and again");
    assert_eq!(positions(&all(&log)), acknowledged, "readers go on");
    disk.set_room(100_000);
    assert_eq!(fill(&mut acknowledged), None);
    assert_eq!(positions(&all(&log)), acknowledged);
    drop(log);
    assert_eq!(verify(&disk), []);
    assert_eq!(positions(&all(&open(&disk, small_segments()).unwrap())), acknowledged);
}

#[test]
fn after_a_failed_sync_nothing_is_taken_or_acknowledged_any_more() {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments()).unwrap();
    let failure = log.failure();
    let acknowledged = append_one(&log, publication("a", "acknowledged"));
    disk.fail_all(Call::SyncFile, Fault::Error(Errno::Io));
    let attempt = || wait(log.append(vec![publication("a", "lost")])).unwrap_err();
    let reason = "a commit cannot be written: Input/output error (os error 5)";
    let first = attempt();
    assert_eq!(first, AppendError::Failed(reason.into()));
    let done = disk.done();
    assert_eq!(attempt(), first);
    assert_eq!(disk.done(), done, "the disk is not touched again");
    assert_eq!(wait(failure), reason);
    assert_eq!(positions(&all(&log)), [acknowledged], "readers go on");
    drop(log);
    assert_eq!(disk.done(), done, "nor is the log marked as closed in order");
}

#[test]
fn damage_at_the_end_stays_refused_when_opening_is_tried_again() {
    let (disk, stored_at) = filled(3);
    let end =
        disk.content()["00000000000000000001.segment"].iter().rposition(|byte| *byte != 0).unwrap();
    flip(&disk, "00000000000000000001.segment", end);
    for _ in 0..2 {
        let error = open(&disk, small_segments()).err().unwrap();
        assert!(matches!(error, OpenError::Damaged(_)), "{error}");
    }
    flip(&disk, "00000000000000000001.segment", end);
    assert_eq!(positions(&all(&open(&disk, small_segments()).unwrap())), stored_at);
}

#[test]
fn more_than_may_wait_is_refused_and_none_of_it_is_stored() {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments().with_waiting_bytes(1)).unwrap();
    let large = || vec![publication("a", &"x".repeat(1000)); 100];
    let mut appends: Vec<_> = (0..50).map(|_| log.append(large())).collect();
    let outcomes = wait(futures_util::future::join_all(appends.drain(..)));
    let stored = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(AppendError::Busy))));
    assert!((1..50).contains(&stored), "{stored} of 50 were stored");
    assert_eq!(all(&log).len(), stored * 100);
}

fn filled(count: usize) -> (SimDisk, Vec<Position>) {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments()).unwrap();
    let stored_at =
        (0..count).map(|number| append_one(&log, publication("a", &number.to_string()))).collect();
    (disk, stored_at)
}

pub(crate) fn flip(disk: &SimDisk, name: &str, at: usize) {
    let file = disk.open(name).unwrap();
    let mut byte = [0];
    file.read_at(at as u64, &mut byte).unwrap();
    file.write_at(at as u64, &[byte[0] ^ 1]).unwrap();
}

/// Of a log that was closed in order, every flipped bit is noticed, and no event is ever wrong.
#[test]
fn a_flipped_bit_is_noticed_and_never_served() {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments()).unwrap();
    for number in 0..60 {
        append_one(&log, keyed("a", &number.to_string()));
    }
    let good = all(&log);
    drop(log);
    let content = disk.content();
    for (name, bytes) in content.iter().filter(|(name, _)| name.ends_with(".segment")) {
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for at in 0..used {
            let mut flipped = content.clone();
            flipped.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
            assert!(notices(flipped, &good), "byte {at} of {name}");
        }
    }
    // What is not a segment is made again from the segments, or may be missing.
    for (name, bytes) in content.iter().filter(|(name, _)| !name.ends_with(".segment")) {
        for at in 0..bytes.len() {
            let mut flipped = content.clone();
            flipped.get_mut(name).unwrap()[at] ^= 1 << (at % 8);
            assert!(!notices(flipped, &good), "byte {at} of {name}");
        }
    }
}

/// Whether verifying fails, as opening and reading may; panics if something is read that was not
/// written.
fn notices(content: BTreeMap<String, Vec<u8>>, good: &[Arc<Entry>]) -> bool {
    let disk = SimDisk::with(content);
    let offline = offline(&disk);
    let verified = offline.verify(&mut |_, _| {});
    let damaged =
        verified.is_err() || verified.unwrap().iter().any(|finding| finding.loses_entries);
    let Ok(log) = open(&disk, small_segments()) else {
        assert!(damaged);
        return true;
    };
    let (mut read, mut after) = (Vec::new(), log.span().start.offset);
    while after < log.span().tail.offset {
        let limit = BlockLimit { entries: 1, bytes: 0 };
        match wait(log.read(after, vec![TopicMatcher::any()], limit)) {
            Ok(block) => {
                after = block.up_to.offset;
                read.extend(block.entries);
            }
            Err(_) => {
                assert!(damaged);
                return true;
            }
        }
    }
    assert_eq!(read, good);
    damaged
}
