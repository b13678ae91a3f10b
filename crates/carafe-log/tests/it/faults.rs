//! A disk that fails: nothing acknowledged is lost, nothing discarded is acknowledged.

use std::pin::Pin;
use std::task::{Context, Waker};

use carafe_log::contract::helpers::{
    NO_LIMIT, append, append_one, keyed, pattern, positions, publication, read, topic, wait,
};
use carafe_log::{
    Append, AppendError, Appended, BlockLimit, BoxFuture, DiskLog, Publication, Read,
};
use futures_util::future::{MaybeDone, maybe_done};

use crate::disk::{all, open, small_segments, verify};
use crate::sim::{Call, Errno, Fault, SimDisk};

pub(crate) type Answer = Result<Vec<Appended>, AppendError>;

/// Appends `batches` in one group commit: they wait while `first` is synced. Then a failure of the
/// disk may be set up.
pub(crate) fn append_together(
    disk: &SimDisk,
    log: &DiskLog,
    first: Vec<Publication>,
    batches: Vec<Vec<Publication>>,
    then: impl FnOnce(&SimDisk),
) -> Vec<Answer> {
    disk.hold();
    let mut asked = vec![Box::pin(maybe_done(log.append(first)))];
    // A log that has failed answers without a sync.
    while !is_done(&mut asked[0]) && disk.waiting() == 0 {
        std::thread::yield_now();
    }
    asked.extend(batches.into_iter().map(|batch| Box::pin(maybe_done(log.append(batch)))));
    asked.iter_mut().for_each(|asked| _ = is_done(asked));
    then(disk);
    disk.release();
    asked
        .iter_mut()
        .map(|asked| (wait(asked.as_mut()), asked.as_mut().take_output().unwrap()).1)
        .collect()
}

/// Polls once. The first time, that queues the batch.
fn is_done(asked: &mut Pin<Box<MaybeDone<BoxFuture<'_, Answer>>>>) -> bool {
    asked.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// A log whose key `known` stands in a sealed segment: looking it up reads the disk.
pub(crate) fn with_a_sealed_key(disk: &SimDisk) -> DiskLog {
    let log = open(disk, small_segments()).unwrap();
    append_one(&log, keyed("a", "known"));
    for number in 0..100 {
        append_one(&log, publication("a", &number.to_string()));
    }
    assert!(
        wait(log.append(vec![keyed("a", "known")])).unwrap()[0].repeated,
        "its index is in memory"
    );
    log
}

fn together(disk: &SimDisk, log: &DiskLog, batches: Vec<Vec<Publication>>) -> Vec<Answer> {
    append_together(disk, log, vec![publication("other", "is synced first")], batches, |_| {})
        .split_off(1)
}

fn fail_next_read(disk: &SimDisk) {
    disk.fail_once(Call::Read, 0, Fault::Error(Errno::Io));
}

#[test]
fn the_keys_of_a_discarded_batch_are_forgotten() {
    let disk = SimDisk::default();
    let log = with_a_sealed_key(&disk);
    fail_next_read(&disk);
    let discarded = vec![keyed("a", "1"), keyed("a", "2"), keyed("a", "known")];
    let answers = together(&disk, &log, vec![discarded, vec![keyed("a", "1")]]);
    assert!(answers[0].is_err());
    let stored = answers[1].clone().unwrap()[0];
    assert!(!stored.repeated, "nothing with this key is stored");
    assert!(positions(&all(&log)).contains(&stored.position));
}

#[test]
fn a_publication_whose_key_cannot_be_read_is_rejected_for_now_and_others_are_stored() {
    let disk = SimDisk::default();
    let log = with_a_sealed_key(&disk);
    disk.fail_all(Call::Read, Fault::Error(Errno::Io));
    let refused = wait(log.append(vec![keyed("a", "known")])).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "nothing was stored, since its idempotency keys cannot be looked up: publish again in a \
         moment (the log cannot be read: Input/output error (os error 5))"
    );
    append_one(&log, publication("a", "without a key"));
    disk.heal();
    assert!(wait(log.append(vec![keyed("a", "known")])).unwrap()[0].repeated);
}

#[test]
fn the_keys_of_stored_entries_are_kept_when_another_batch_is_discarded() {
    let disk = SimDisk::default();
    let log = with_a_sealed_key(&disk);
    fail_next_read(&disk);
    let batches = ["first", "known", "first"].map(|key| vec![keyed("a", key)]);
    let answers = together(&disk, &log, batches.to_vec());
    assert!(answers[1].is_err());
    let (first, again) = (answers[0].clone().unwrap()[0], answers[2].clone().unwrap()[0]);
    assert_eq!(again, Appended { position: first.position, repeated: true });
}

#[test]
fn a_write_that_finds_no_room_is_refused_and_the_next_one_is_stored() {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments()).unwrap();
    disk.fail_once(Call::Write, 0, Fault::Short(0, Errno::NoSpace));
    assert_eq!(wait(log.append(vec![publication("a", "refused")])), Err(AppendError::Full));
    let stored = append_one(&log, publication("a", "stored"));
    assert_eq!(positions(&all(&log)), [stored]);
}

/// The case: without the repair, what the short write left made the next start refuse the
/// log.
#[test]
fn a_log_opens_after_a_short_write_and_an_orderly_stop() {
    for errno in [Errno::NoSpace, Errno::FileTooLarge] {
        for published_after in [0, 1, 50] {
            let disk = SimDisk::default();
            let log = open(&disk, small_segments()).unwrap();
            let mut stored = vec![append_one(&log, publication("a", "before"))];
            disk.fail_once(Call::Write, 0, Fault::Short(150, errno));
            let refused = vec![publication("a", &"x".repeat(500))];
            assert_eq!(wait(log.append(refused)), Err(AppendError::Full));
            stored
                .extend((0..published_after).map(|_| append_one(&log, publication("a", "after"))));
            drop(log);
            assert_eq!(verify(&disk), []);
            assert_eq!(positions(&all(&open(&disk, small_segments()).unwrap())), stored);
        }
    }
}

#[test]
fn a_refused_commit_that_cannot_be_cut_off_is_cut_off_before_the_next_one() {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments()).unwrap();
    disk.fail_once(Call::Write, 0, Fault::Short(150, Errno::NoSpace));
    disk.fail_once(Call::Truncate, 0, Fault::Error(Errno::NoSpace));
    let refused = vec![publication("a", &"x".repeat(500))];
    assert_eq!(wait(log.append(refused)), Err(AppendError::Full));
    let stored = append_one(&log, publication("a", "short"));
    drop(log);
    assert_eq!(positions(&all(&open(&disk, small_segments()).unwrap())), [stored]);
}

#[test]
fn history_that_cannot_be_trimmed_for_want_of_room_is_trimmed_later() {
    let disk = SimDisk::default();
    let options = small_segments().with_bytes(6000);
    let log = open(&disk, options).unwrap();
    disk.fail_once(Call::Remove, 0, Fault::Error(Errno::NoSpace));
    let stored: Vec<_> = (0..200).map(|_| append_one(&log, publication("a", "small"))).collect();
    drop(log);
    let log = open(&disk, options).unwrap();
    let kept = positions(&all(&log));
    assert!(kept.len() < 200 && stored.ends_with(&kept), "{kept:?}");
}

/// A topic whose list of entries is too long to be read together with those of others.
#[test]
fn entries_selected_by_a_pattern_are_all_read_after_their_list_could_not_be() {
    const ENTRIES: usize = 70_000;
    let disk = SimDisk::default();
    let options = small_segments().with_segment_bytes(16 << 20);
    let log = open(&disk, options).unwrap();
    for _ in 0..ENTRIES / 10_000 {
        append(&log, vec![publication("a", ""); 10_000]);
    }
    append_one(&log, publication("large", &"x".repeat(16 << 20)));
    drop(log);
    let log = open(&disk, options).unwrap();
    let mut failed = 0;
    for succeed in 0..30 {
        // Each set of matchers is looked up by itself.
        let wanted = vec![pattern(":one"), topic(&format!("nothing-{succeed}")).into()];
        let limit = BlockLimit { entries: 10, ..NO_LIMIT };
        disk.fail_once(Call::Read, succeed, Fault::Error(Errno::Io));
        failed += usize::from(wait(log.read(0, wanted.clone(), limit)).is_err());
        disk.heal();
        let block = read(&log, 0, &wanted, limit);
        let offsets: Vec<_> = block.entries.iter().map(|entry| entry.offset()).collect();
        assert_eq!(offsets, (1..=10).collect::<Vec<_>>(), "after {succeed} reads");
    }
    assert!((5..30).contains(&failed), "{failed} of 30: all reads of a block failed once");
}
