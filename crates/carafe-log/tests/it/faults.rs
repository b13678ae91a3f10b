//! A disk that fails: nothing acknowledged is lost, nothing discarded is acknowledged.

use std::task::{Context, Poll, Waker};

use carafe_log::{Append, AppendError, Appended, BoxFuture, DiskLog, Publication};

use crate::disk::{all, open, small_segments};
use crate::factory::{append_one, keyed, positions, publication, wait};
use crate::sim::{Call, Errno, Fault, SimDisk};

type Answer = Result<Vec<Appended>, AppendError>;

/// Appends all batches in one group commit: they wait while another batch is synced.
fn append_together(disk: &SimDisk, log: &DiskLog, batches: Vec<Vec<Publication>>) -> Vec<Answer> {
    disk.hold();
    let syncing = asked(log.append(vec![publication("other", "is synced first")]));
    while disk.waiting() == 0 {
        std::thread::yield_now();
    }
    let waiting: Vec<_> = batches.into_iter().map(|batch| asked(log.append(batch))).collect();
    disk.release();
    wait(syncing).unwrap();
    waiting.into_iter().map(wait).collect()
}

/// Polls the future once, which queues the batch.
fn asked(mut append: BoxFuture<'_, Answer>) -> BoxFuture<'_, Answer> {
    match append.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => append,
        Poll::Ready(answer) => Box::pin(std::future::ready(answer)),
    }
}

/// A log whose key `known` stands in a sealed segment: looking it up reads the disk.
fn with_a_sealed_key(disk: &SimDisk) -> DiskLog {
    let log = open(disk, small_segments()).unwrap();
    append_one(&log, keyed("a", "known"));
    for number in 0..100 {
        append_one(&log, publication("a", &number.to_string()));
    }
    assert!(wait(log.append(vec![keyed("a", "known")])).unwrap()[0].repeated, "its index is in memory");
    log
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
    let answers = append_together(&disk, &log, vec![discarded, vec![keyed("a", "1")]]);
    assert!(answers[0].is_err());
    let stored = answers[1].clone().unwrap()[0];
    assert!(!stored.repeated, "nothing with this key is stored");
    assert!(positions(&all(&log)).contains(&stored.position));
}

#[test]
fn the_keys_of_stored_entries_are_kept_when_another_batch_is_discarded() {
    let disk = SimDisk::default();
    let log = with_a_sealed_key(&disk);
    fail_next_read(&disk);
    let batches = ["first", "known", "first"].map(|key| vec![keyed("a", key)]);
    let answers = append_together(&disk, &log, batches.to_vec());
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
