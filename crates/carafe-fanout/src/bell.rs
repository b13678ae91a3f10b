//! Wakes a shard from its poller.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use mio::{Registry, Token, Waker};

/// May be rung by very many at once, which costs one system call.
pub(crate) struct Bell {
    poller: Waker,
    /// It was rung since the shard last heard it.
    rung: AtomicBool,
}

impl Bell {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self { poller: Waker::new(registry, token)?, rung: AtomicBool::new(false) }))
    }

    /// From now on it may be rung again. To be called before a look at what it may have been rung
    /// for.
    pub(crate) fn hear(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Err(error) = self.poller.wake() {
            tracing::error!(%error, "a shard cannot be woken");
        }
    }
}
