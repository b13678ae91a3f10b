//! Threads of the log that panic: callers get an error and do not wait forever.

use carafe_log::contract::helpers::{append_one, keyed, positions, publication, supplied, wait};
use carafe_log::{Append, AppendAt, AppendError, Read, ReadError};
use futures_util::FutureExt;

use crate::disk::{all, open, small_segments};
use crate::faults::with_a_sealed_key;
use crate::sim::{Call, Fault, SimDisk};

const THROUGH_A_PANIC: usize = 10_000;

#[test]
fn a_panic_in_the_thread_that_writes_indexes_ends_writing_with_an_error() {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments()).unwrap();
    let failure = log.failure();
    // Nothing else gives files other names.
    disk.fail_once(Call::Rename, 0, Fault::Panic);
    let append = || wait(log.append(vec![publication("a", "in a small segment")]));
    let mut stored = Vec::new();
    let refused = loop {
        match append() {
            Ok(appended) => stored.push(appended[0].position),
            Err(error) => break error,
        }
        assert!(stored.len() < THROUGH_A_PANIC, "writing goes on without indexes");
    };
    let reason = wait(failure);
    assert!(
        reason.ends_with("the thread that writes indexes has ended: the disk panics"),
        "{reason}"
    );
    assert_eq!(
        (&refused, append().unwrap_err()),
        (&AppendError::Failed(reason.clone().into()), refused.clone())
    );
    assert_eq!(positions(&all(&log)), stored, "readers go on");
    drop(log);
    assert_eq!(positions(&all(&open(&disk, small_segments()).unwrap())), stored);
}

#[test]
fn a_panic_in_the_writer_thread_is_an_error_for_all_publishers() {
    for call in [Call::SyncFile, Call::Write] {
        let disk = SimDisk::default();
        let log = open(&disk, small_segments()).unwrap();
        let failure = log.failure();
        let stored = append_one(&log, publication("a", "before"));
        disk.fail_once(call, 0, Fault::Panic);
        for _ in 0..3 {
            let refused = wait(log.append(vec![publication("a", "refused")]));
            assert!(matches!(refused, Err(AppendError::Failed(_))), "{refused:?}");
            assert!(wait(log.append_at(vec![supplied(&log, 100, publication("a", ""))])).is_err());
        }
        assert_eq!(wait(failure), "the thread that writes has panicked: the disk panics");
        assert_eq!(positions(&all(&log)), [stored], "readers go on");
        let done = disk.done();
        drop(log);
        assert_eq!(disk.done(), done, "the log is not marked as closed in order");
        assert!(open(&disk, small_segments()).is_ok());
    }
}

#[test]
fn a_panic_while_history_is_read_is_an_error_for_the_reader_and_later_reads_succeed() {
    let disk = SimDisk::default();
    let log = open(&disk, small_segments()).unwrap();
    let stored: Vec<_> = (0..100).map(|_| append_one(&log, publication("a", "stored"))).collect();
    disk.fail_all(Call::Read, Fault::Panic);
    for _ in 0..3 {
        let read = wait(log.find(stored[0]));
        assert_eq!(read, Err(ReadError::Disk("reading it has panicked: the disk panics".into())));
    }
    disk.heal();
    assert_eq!(positions(&all(&log)), stored);
    assert_eq!(log.failure().now_or_never(), None, "the log has not failed");
}

#[test]
fn a_panic_while_a_key_is_looked_up_is_an_error_for_its_publisher_and_the_next_one_is_stored() {
    let disk = SimDisk::default();
    let log = with_a_sealed_key(&disk);
    let tail = log.span().tail;
    for _ in 0..2 {
        disk.fail_once(Call::Read, 0, Fault::Panic);
        let refused = wait(log.append(vec![keyed("a", "known"), keyed("a", "unknown")]));
        let panicked = ReadError::Disk("reading it has panicked: the disk panics".into());
        assert_eq!(refused, Err(AppendError::Keys(panicked)));
        assert_eq!(log.span().tail, tail, "nothing of it is stored");
    }
    assert!(wait(log.append(vec![keyed("a", "known")])).unwrap()[0].repeated);
    assert_eq!(append_one(&log, keyed("a", "unknown")).offset, tail.offset + 1);
}
