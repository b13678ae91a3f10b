//! The indexer thread. It writes the indexes of sealed segments while the writer continues with the
//! next segment.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::disk::index::active::ActiveIndex;
use crate::disk::pace::Pace;
use crate::disk::segment::sealed::Sealed;
use crate::disk::storage::Storage;
use crate::panics::caught;

/// The maximum number of sealed segments whose index is in memory. With more, the writer waits.
const WAITING: usize = 2;

/// The time after which a failed write of an index is tried again.
const AGAIN: Duration = Duration::from_secs(1);

pub(crate) struct Indexer {
    waiting: Arc<Segments>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Segments {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    segments: VecDeque<Arc<Sealed>>,
    /// The error of writing the oldest index, until it succeeds.
    failed: Option<io::Error>,
    /// The message of a panic that has ended the thread.
    ended: Option<String>,
    closed: bool,
}

impl Indexer {
    pub(crate) fn start(storage: Arc<dyn Storage>) -> io::Result<Self> {
        let waiting = Arc::<Segments>::default();
        let segments = Arc::clone(&waiting);
        let thread = thread::Builder::new().name("carafe-log-index".into());
        let thread = thread.spawn(move || segments.write_or_end(&*storage))?;
        Ok(Self { waiting, thread: Some(thread) })
    }

    /// Blocks the writer until another segment may be sealed.
    ///
    /// # Errors
    /// When the waiting indexes cannot be written, or the thread has ended.
    pub(crate) fn wait_for_room(&self) -> io::Result<()> {
        let full = |waiting: &mut Waiting| {
            waiting.segments.len() >= WAITING && waiting.failed.is_none() && waiting.ended.is_none()
        };
        let waiting = self.waiting.changed.wait_while(self.waiting.lock(), full);
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        waiting.check_thread()?;
        match waiting.failed.take() {
            Some(error) if waiting.segments.len() >= WAITING => Err(error),
            _ => Ok(()),
        }
    }

    /// Checks that the thread runs.
    ///
    /// # Errors
    /// When the thread has ended by a panic.
    pub(crate) fn check(&self) -> io::Result<()> {
        self.waiting.lock().check_thread()
    }

    /// Queues the index of a sealed segment.
    pub(crate) fn write(&self, sealed: Arc<Sealed>) {
        self.waiting.lock().segments.push_back(sealed);
        self.waiting.changed.notify_all();
    }
}

impl Drop for Indexer {
    /// Tries to write each waiting index once, and ends the thread.
    fn drop(&mut self) {
        self.waiting.lock().closed = true;
        self.waiting.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Waiting {
    fn check_thread(&self) -> io::Result<()> {
        let ended = |panic: &String| {
            io::Error::other(format!("the thread that writes indexes has ended: {panic}"))
        };
        self.ended.as_ref().map_or(Ok(()), |panic| Err(ended(panic)))
    }
}

impl Segments {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a panic, which ends the thread. Without this, the writer would wait forever.
    fn write_or_end(&self, storage: &dyn Storage) {
        if let Err(panic) = caught(|| self.write_all(storage)) {
            self.lock().ended = Some(panic);
            self.changed.notify_all();
        }
    }

    fn write_all(&self, storage: &dyn Storage) {
        let mut unused = Vec::new();
        // With as many waiting segments, the writer will wait for this thread.
        let is_urgent = || self.lock().segments.len() >= WAITING;
        let pace = Pace::new(&is_urgent);
        while let Some(sealed) = self.next(&mut unused, &pace) {
            let settled = sealed.settle(storage, &pace);
            let mut waiting = self.lock();
            match settled {
                Ok(index) => {
                    waiting.segments.pop_front();
                    waiting.failed = None;
                    unused.extend(index);
                }
                Err(error) if waiting.closed => {
                    tracing::warn!(
                        %error,
                        segment = sealed.segment.name,
                        "the index cannot be written; it is made when the log is opened"
                    );
                    waiting.segments.pop_front();
                }
                Err(error) => {
                    tracing::warn!(
                        %error,
                        segment = sealed.segment.name,
                        "the index cannot be written now; trying again"
                    );
                    waiting.failed = Some(error);
                    self.changed.notify_all();
                    drop(self.changed.wait_timeout(waiting, AGAIN));
                    continue;
                }
            }
            drop(waiting);
            self.changed.notify_all();
        }
    }

    /// The oldest waiting segment. While there is none, drops indexes that no reader uses any more.
    /// Dropping one may take long, so this thread keeps a reference until it is the last owner.
    fn next(&self, unused: &mut Vec<Arc<ActiveIndex>>, pace: &Pace<'_>) -> Option<Arc<Sealed>> {
        let mut waiting = self.lock();
        loop {
            if let Some(sealed) = waiting.segments.front() {
                return Some(Arc::clone(sealed));
            }
            if waiting.closed {
                return None;
            }
            if unused.is_empty() {
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            } else {
                drop(waiting);
                *unused = unused.drain(..).filter_map(|index| still_used(index, pace)).collect();
                let pause = if unused.is_empty() { Duration::ZERO } else { AGAIN };
                let woken = self.changed.wait_timeout(self.lock(), pause);
                waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

/// Drops an index step by step, unless it has another owner.
fn still_used(index: Arc<ActiveIndex>, pace: &Pace<'_>) -> Option<Arc<ActiveIndex>> {
    match Arc::try_unwrap(index) {
        Ok(index) => {
            index.drop_in_steps(pace);
            None
        }
        Err(index) => Some(index),
    }
}
