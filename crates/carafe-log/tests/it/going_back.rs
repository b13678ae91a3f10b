//! Taking back the newest entries of a supplied log, or all.

use carafe_log::contract::helpers::{append_one, publication, topic};
use carafe_log::contract::ordered::store;
use carafe_log::{Commit, Entry, Erase, OpenError, OrderedCommit, Publication, Read};
use carafe_protocol::Offset;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::disk::{all, offline, open, small_segments, verify};
use crate::sim::SimDisk;
use crate::supplied::{
    commit, entries, expected, fill, has_first_commits, options, random_commits,
};

const SEED: u64 = 0xBAC;
const COMMITS: u64 = 60;

/// A closed log with commits in several segments, and what it has.
fn filled(random: &mut StdRng) -> (SimDisk, Vec<OrderedCommit>, Vec<Entry>) {
    let (disk, commits) = (SimDisk::default(), random_commits(COMMITS, random));
    fill(&open(&disk, options()).unwrap(), &commits);
    let expected = expected(&commits);
    (disk, commits, expected)
}

/// The last offset that a commit with this sequence may have.
fn end_of(sequence: u64) -> Offset {
    ((sequence + 1) << Commit::OFFSET_BITS) - 1
}

#[test]
fn a_log_that_goes_back_has_the_first_commits_and_is_filled_again() {
    let mut random = StdRng::seed_from_u64(SEED);
    let (disk, commits, expected) = filled(&mut random);
    let content = disk.content();
    for sequence in 0..=COMMITS + 1 {
        for is_clean in [true, false] {
            let mut content = content.clone();
            if !is_clean {
                content.remove("clean");
            }
            let disk = SimDisk::with(content);
            offline(&disk).go_back(end_of(sequence)).unwrap();
            assert_eq!(verify(&disk), [], "{sequence}");
            let log = open(&disk, options()).unwrap();
            let kept = expected.iter().filter(|entry| entry.offset() <= end_of(sequence));
            assert!(entries(&log).iter().eq(kept), "{sequence}");
            fill(&log, &commits);
            assert_eq!(entries(&log), expected, "{sequence}");
        }
    }
}

#[test]
fn a_log_that_goes_back_before_an_erasure_gets_what_was_erased_again() {
    let event = |sequence| commit(sequence, vec![vec![publication("a", "content")]]);
    let erasure = Publication::erase(topic("a"), Erase::Before);
    let mut commits: Vec<_> = (1..10).map(event).collect();
    let disk = SimDisk::default();
    let log = open(&disk, options()).unwrap();
    fill(&log, &commits);
    store(&log, vec![commit(10, vec![vec![erasure]])]);
    drop(log);
    offline(&disk).go_back(end_of(10)).unwrap();
    assert!(entries(&open(&disk, options()).unwrap())[0].data().is_empty());
    offline(&disk).go_back(end_of(5)).unwrap();
    let log = open(&disk, options()).unwrap();
    assert_eq!(all(&log), [], "it begins anew");
    commits.extend((10..13).map(event));
    fill(&log, &commits);
    assert_eq!(entries(&log), expected(&commits));
}

#[test]
fn a_crash_while_a_log_goes_back_or_is_cleared_leaves_first_commits() {
    println!("seed {SEED:#x}");
    let mut random = StdRng::seed_from_u64(SEED);
    let (disk, commits, expected) = filled(&mut random);
    for round in 0..300 {
        let disk = SimDisk::with(disk.content());
        match round % 3 {
            0 => offline(&disk).clear().unwrap(),
            _ => offline(&disk).go_back(end_of(random.random_range(0..COMMITS))).unwrap(),
        }
        for _ in 0..5 {
            let done = random.random_range(0..=disk.done());
            let crashed = SimDisk::with(disk.crash(done, &mut random));
            let log = open(&crashed, options()).unwrap();
            assert!(has_first_commits(&log, &expected), "round {round}, after {done}");
            fill(&log, &commits);
            assert_eq!(entries(&log), expected, "round {round}, after {done}");
        }
    }
}

#[test]
fn a_log_is_cleared_whatever_its_state_is_and_foreign_files_stay() {
    let mut random = StdRng::seed_from_u64(SEED);
    let (disk, commits, expected) = filled(&mut random);
    let mut content = disk.content();
    content.insert("notes.txt".into(), b"the user's".to_vec());
    let damaged = content.iter_mut().find(|(name, _)| name.ends_with(".segment")).unwrap();
    damaged.1[60] ^= 1;
    let disk = SimDisk::with(content);
    offline(&disk).clear().unwrap();
    assert_eq!(disk.content().into_keys().collect::<Vec<_>>(), ["notes.txt"]);
    let log = open(&disk, options().beginning_after(9)).unwrap();
    assert_eq!((log.span().start.offset, all(&log)), (9, Vec::new()));
    fill(&log, &commits);
    assert_eq!(entries(&log), expected);
}

#[test]
fn a_log_of_its_own_is_neither_cleared_nor_taken_back() {
    let disk = SimDisk::default();
    append_one(&open(&disk, small_segments()).unwrap(), publication("a", "the user's"));
    let before = disk.content();
    for refused in [offline(&disk).clear(), offline(&disk).go_back(0)] {
        assert!(matches!(refused, Err(OpenError::OtherLog { found: None, .. })), "{refused:?}");
    }
    assert!(disk.content() == before);
    let nothing = SimDisk::default();
    offline(&nothing).clear().unwrap();
    offline(&nothing).go_back(0).unwrap();
    assert!(nothing.content().is_empty());
}
