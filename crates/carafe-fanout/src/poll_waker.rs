//! Wakes a shard from its poller.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use mio::{Registry, Token, Waker};

/// May be woken by very many at once, which costs one system call.
pub(crate) struct PollWaker {
    poller: Waker,
    /// It was woken since the shard last heard it.
    woken: AtomicBool,
}

impl PollWaker {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self { poller: Waker::new(registry, token)?, woken: AtomicBool::new(false) }))
    }

    /// From now on it may be woken again. To be called before a look at what it may have been woken
    /// for.
    pub(crate) fn reset(&self) {
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
            tracing::error!(%error, "a shard cannot be woken");
        }
    }
}
