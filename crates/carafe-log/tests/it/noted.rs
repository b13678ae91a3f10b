//! How far a log on disk was supplied, where its newest entry does not say so.

use carafe_log::contract::helpers::{publication, wait};
use carafe_log::contract::ordered::store;
use carafe_log::{AppendAt, DiskLog, Read};
use carafe_protocol::Offset;

use crate::disk::{offline, open, verify};
use crate::sim::SimDisk;
use crate::supplied::{commit, options};

/// A log with some commits, and an offset behind them that was noted.
fn noted(disk: &SimDisk) -> (DiskLog, Offset) {
    let log = open(disk, options()).unwrap();
    supply(&log, 1..4);
    let up_to = log.span().tail.offset + 1000;
    wait(log.note_supplied(up_to));
    (log, up_to)
}

fn supply(log: &DiskLog, sequences: std::ops::Range<u64>) {
    let event = || vec![vec![publication("a", "twenty bytes of data")]];
    store(log, sequences.map(|sequence| commit(sequence, event())).collect());
}

#[test]
fn what_was_noted_is_known_when_the_log_is_opened_again() {
    let disk = SimDisk::default();
    let (log, up_to) = noted(&disk);
    drop(log);
    for _ in 0..2 {
        assert_eq!(verify(&disk), []);
        let log = open(&disk, options()).unwrap();
        assert_eq!(log.supplied_up_to(), up_to);
    }
    let log = open(&disk, options()).unwrap();
    supply(&log, 4..5);
    assert_eq!(log.supplied_up_to(), log.span().tail.offset, "entries say it themselves");
}

#[test]
fn what_was_noted_does_not_count_for_a_log_that_has_lost_entries() {
    let disk = SimDisk::default();
    let (log, _) = noted(&disk);
    let entry = crate::supplied::entries(&log)[1].offset();
    drop(log);
    let content = disk.content();
    offline(&disk).go_back(entry).unwrap();
    let log = open(&disk, options()).unwrap();
    assert_eq!(log.supplied_up_to(), entry);
    drop(log);
    assert!(!disk.content().contains_key("supplied"));

    // The end is lost without a word.
    let mut other = SimDisk::with(content.clone());
    offline(&other).clear().unwrap();
    let mut lost = other.content();
    lost.insert("supplied".into(), content["supplied"].clone());
    other = SimDisk::with(lost);
    let log = open(&other, options()).unwrap();
    assert_eq!(log.supplied_up_to(), log.span().tail.offset);
}

#[test]
fn a_torn_mark_is_none_and_a_file_of_a_user_is_never_replaced() {
    let disk = SimDisk::default();
    drop(noted(&disk));
    for (text, stays) in [(&b"CARAFEUP"[..], false), (b"", false), (b"my notes, not yours", true)] {
        let mut content = disk.content();
        content.insert("supplied".into(), text.to_vec());
        let disk = SimDisk::with(content);
        let log = open(&disk, options()).unwrap();
        let tail = log.span().tail.offset;
        assert_eq!(log.supplied_up_to(), tail);
        wait(log.note_supplied(tail + 1));
        let is_noted = log.supplied_up_to() == tail + 1;
        assert_eq!(is_noted, !stays);
        assert_eq!(disk.content()["supplied"] == text, stays);
    }
}
