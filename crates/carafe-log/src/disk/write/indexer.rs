//! The thread that writes the indexes of segments that were sealed, while the writer goes on in the
//! next segment.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::disk::index::active::ActiveIndex;
use crate::disk::segment::sealed::Sealed;
use crate::disk::storage::Storage;
use crate::panics::caught;

/// How many sealed segments may have their index in memory. Beyond that, the writer waits.
const WAITING: usize = 2;

/// When writing an index has failed, it is tried again after this time.
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
    /// Why the oldest could not be written, until it is.
    failed: Option<io::Error>,
    /// What a panic said that has ended the thread.
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

    /// Waits until another segment may be sealed.
    ///
    /// # Errors
    /// When the indexes that wait cannot be written, or none will be any more.
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

    /// Whether there is a thread that writes.
    ///
    /// # Errors
    /// When it has ended by a panic.
    pub(crate) fn check(&self) -> io::Result<()> {
        self.waiting.lock().check_thread()
    }

    /// Has the index of a sealed segment written.
    pub(crate) fn write(&self, sealed: Arc<Sealed>) {
        self.waiting.lock().segments.push_back(sealed);
        self.waiting.changed.notify_all();
    }
}

impl Drop for Indexer {
    /// Writes what waits, each once.
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

    /// A panic ends it, and the writer is told: it would wait for ever.
    fn write_or_end(&self, storage: &dyn Storage) {
        if let Err(panic) = caught(|| self.write_all(storage)) {
            self.lock().ended = Some(panic);
            self.changed.notify_all();
        }
    }

    fn write_all(&self, storage: &dyn Storage) {
        let mut unused = Vec::new();
        while let Some(sealed) = self.next(&mut unused) {
            let settled = sealed.settle(storage);
            let mut waiting = self.lock();
            match settled {
                Ok(index) => {
                    waiting.segments.pop_front();
                    waiting.failed = None;
                    unused.extend(index);
                }
                Err(error) if waiting.closed => {
                    tracing::warn!(%error, segment = sealed.segment.name, "its index is made when the log is opened");
                    waiting.segments.pop_front();
                }
                Err(error) => {
                    tracing::warn!(%error, segment = sealed.segment.name, "its index cannot be written now");
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

    /// The oldest segment that waits. Meanwhile, indexes that nobody reads any more are dropped:
    /// that may take long, and so no other thread is to be the last to have one.
    fn next(&self, unused: &mut Vec<Arc<ActiveIndex>>) -> Option<Arc<Sealed>> {
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
                unused.retain(|index| Arc::strong_count(index) > 1);
                let pause = if unused.is_empty() { Duration::ZERO } else { AGAIN };
                let woken = self.changed.wait_timeout(self.lock(), pause);
                waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}
