//! Wakes a shard that waits in its poller.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use mio::{Registry, Token, Waker};

/// Wakes a shard from any thread. However often it is woken before it looks, that is one system
/// call.
pub(crate) struct PollWaker {
    poller: Waker,
    /// Whether the shard was woken since the last [`reset`](Self::reset).
    woken: AtomicBool,
}

impl PollWaker {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self { poller: Waker::new(registry, token)?, woken: AtomicBool::new(false) }))
    }

    /// Lets the next wake through. The shard calls it before it looks for what it was woken for: in
    /// the other order, it would miss what comes in between.
    pub(crate) fn reset(&self) {
        // A swap, not a store: it reads the `true` of a waker (Acquire), so that what the waker did
        // before is visible to the look that follows.
        self.woken.swap(false, Ordering::AcqRel);
    }
}

impl Wake for PollWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.woken.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = self.poller.wake() {
            tracing::error!(%error, "cannot wake a shard");
        }
    }
}
