//! Who completes appends: the writer, or a helper on the executor of the publishers.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread, ThreadId};

use carafe_log::Append;
use carafe_log::contract::helpers::{append_one, positions, publication, wait};
use futures_util::FutureExt;
use futures_util::future::{Either, join_all, select};

use crate::disk::{all, open, small_segments};
use crate::sim::SimDisk;

/// Records which threads wake a task, and lets its own go on.
struct Recorder {
    task: Thread,
    woken_by: Mutex<Vec<ThreadId>>,
}

impl Wake for Recorder {
    fn wake(self: Arc<Self>) {
        self.woken_by.lock().unwrap().push(thread::current().id());
        self.task.unpark();
    }
}

fn recorder() -> Arc<Recorder> {
    Arc::new(Recorder { task: thread::current(), woken_by: Mutex::default() })
}

#[test]
fn a_helper_completes_appends_on_its_own_thread() {
    let log = open(&SimDisk::default(), small_segments()).unwrap();
    let (helping, publishing) = (recorder(), recorder());
    let mut helper = pin!(log.answering());
    let mut append = log.append(vec![publication("a", "x")]);
    let (helps, publishes) = (Waker::from(Arc::clone(&helping)), Waker::from(publishing.clone()));
    assert!(helper.as_mut().poll(&mut Context::from_waker(&helps)).is_pending());
    assert!(append.as_mut().poll(&mut Context::from_waker(&publishes)).is_pending());
    while helping.woken_by.lock().unwrap().is_empty() {
        thread::park();
    }
    assert!(append.as_mut().poll(&mut Context::from_waker(&publishes)).is_pending());
    assert!(helper.as_mut().poll(&mut Context::from_waker(&helps)).is_pending());
    assert_eq!(*publishing.woken_by.lock().unwrap(), [thread::current().id()]);
    let Poll::Ready(appended) = append.as_mut().poll(&mut Context::from_waker(&publishes)) else {
        panic!("the helper completes the append");
    };
    assert_eq!(positions(&all(&log)), [appended.unwrap()[0].position]);
}

#[test]
fn appends_complete_when_the_helper_is_dropped_and_without_one() {
    let log = open(&SimDisk::default(), small_segments()).unwrap();
    let mut helper = Box::pin(log.answering());
    assert!((&mut helper).now_or_never().is_none());
    let mut waiting = join_all((0..3).map(|_| log.append(vec![publication("a", "x")])));
    assert!((&mut waiting).now_or_never().is_none());
    drop(helper);
    assert!(wait(waiting).iter().all(Result::is_ok));
    append_one(&log, publication("a", "without a helper"));
    // Never polled, so it is no helper.
    let _unused = log.answering();
    append_one(&log, publication("a", "without a helper"));
}

#[test]
fn one_helper_suffices_and_it_ends_with_the_log() {
    let log = open(&SimDisk::default(), small_segments()).unwrap();
    let mut helper = pin!(log.answering());
    assert!((&mut helper).now_or_never().is_none());
    assert_eq!(log.answering().now_or_never(), Some(()), "there is one already");
    let append = log.append(vec![publication("a", "x")]);
    let Either::Right((appended, helper)) = wait(select(helper, append)) else {
        panic!("the helper ends before its log");
    };
    assert!(appended.is_ok());
    drop(log);
    wait(helper);
}
