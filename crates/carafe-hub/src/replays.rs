//! How many subscriptions read the log at once.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use tokio::sync::{Semaphore, SemaphorePermit};

/// The turns in which the log is read. Who finds none free waits, and gets one in the order of asking.
pub(crate) struct Replays {
    turns: Semaphore,
    reading: AtomicUsize,
    waiting: AtomicUsize,
    waited: AtomicU64,
}

/// Lets one subscription read the log, until it is dropped.
pub(crate) struct Turn<'a> {
    replays: &'a Replays,
    _permit: SemaphorePermit<'a>,
}

impl Replays {
    /// At most `limit` turns at once, and at least one.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            turns: Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS)),
            reading: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            waited: AtomicU64::new(0),
        }
    }

    /// Waits for a turn.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        let permit = match self.turns.try_acquire() {
            Ok(permit) => permit,
            Err(_) => self.wait().await,
        };
        self.reading.fetch_add(1, Relaxed);
        Turn { replays: self, _permit: permit }
    }

    async fn wait(&self) -> SemaphorePermit<'_> {
        self.waited.fetch_add(1, Relaxed);
        self.waiting.fetch_add(1, Relaxed);
        // Who gives up waiting is dropped here.
        let _waiting = Waiting(&self.waiting);
        self.turns.acquire().await.expect("the turns are never closed")
    }

    /// How many read now.
    pub(crate) fn reading(&self) -> usize {
        self.reading.load(Relaxed)
    }

    /// How many wait for their turn now.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// How many had to wait so far.
    pub(crate) fn waited(&self) -> u64 {
        self.waited.load(Relaxed)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.replays.reading.fetch_sub(1, Relaxed);
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
