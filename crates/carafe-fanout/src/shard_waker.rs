//! Wakes what takes a shard's next turn: its thread, or its helper.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};

use futures_util::task::AtomicWaker;
use mio::{Registry, Token};

/// Wakes a shard from any thread. However often it is woken before it looks, one waker is called,
/// once. While the thread is awake, none is called: the thread looks again before it waits. While
/// it waits, its [helper](crate::ShardHelper) is called, if it has one.
pub(crate) struct ShardWaker {
    thread: mio::Waker,
    helper: AtomicWaker,
    /// Whether the shard was woken since the last [`reset`](Self::reset).
    woken: AtomicBool,
    /// Whether the thread waits in its poller, or is about to.
    ///
    /// A waker sets `woken` and then reads `waits`; the thread sets `waits` and then reads `woken`.
    /// All four are `SeqCst`: at least one of the two sees what the other has set.
    waits: AtomicBool,
}

impl ShardWaker {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            thread: mio::Waker::new(registry, token)?,
            helper: AtomicWaker::new(),
            woken: AtomicBool::new(false),
            waits: AtomicBool::new(false),
        }))
    }

    /// Lets the next wake through. Thread and helper call it before they look for what the shard
    /// was woken for: in the other order, they would miss what arrives in between.
    pub(crate) fn reset(&self) {
        // A swap, not a store: it reads the `true` of a waker, so that what the waker did before is
        // visible to the look that follows.
        self.woken.swap(false, Ordering::SeqCst);
    }

    pub(crate) fn is_woken(&self) -> bool {
        self.woken.load(Ordering::SeqCst)
    }

    /// The thread is about to wait; `false` if it must not, since the shard was woken.
    pub(crate) fn may_wait(&self) -> bool {
        self.waits.store(true, Ordering::SeqCst);
        !self.is_woken()
    }

    /// The thread is awake.
    pub(crate) fn is_awake(&self) {
        self.waits.store(false, Ordering::SeqCst);
    }

    /// Wakes the thread, even if the helper was woken.
    pub(crate) fn wake_thread(&self) {
        if let Err(error) = self.thread.wake() {
            tracing::error!(%error, "cannot wake a shard");
        }
    }

    /// Wakes the thread if it waits, for a helper that cannot take its turn. A thread that is awake
    /// looks again before it waits. While it waits, it takes no turn: then another helper does,
    /// which may have looked already.
    pub(crate) fn wake_waiting_thread(&self) {
        if self.waits.load(Ordering::SeqCst) {
            self.wake_thread();
        }
    }

    /// From now on, this waker is called while the thread waits.
    pub(crate) fn register_helper(&self, waker: &Waker) {
        self.helper.register(waker);
    }

    /// There is no helper any more. The thread does what the helper was woken for.
    pub(crate) fn remove_helper(&self, wakes_thread: bool) {
        drop(self.helper.take());
        if wakes_thread || self.is_woken() {
            self.wake_thread();
        }
    }

    /// Lets the helper notice that the shard has ended.
    pub(crate) fn end_helper(&self) {
        self.woken.store(true, Ordering::SeqCst);
        self.helper.wake();
    }
}

impl Wake for ShardWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.woken.swap(true, Ordering::SeqCst) || !self.waits.load(Ordering::SeqCst) {
            return;
        }
        match self.helper.take() {
            Some(helper) => helper.wake(),
            None => self.wake_thread(),
        }
    }
}
