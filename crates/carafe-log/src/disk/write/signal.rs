//! Wakes and ends the thread that rewrites segments.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Default)]
pub(crate) struct Signal {
    state: Mutex<Signalled>,
    changed: Condvar,
}

#[derive(Default)]
struct Signalled {
    closed: bool,
    /// An erasure was stored.
    erased: bool,
}

impl Signal {
    fn lock(&self) -> MutexGuard<'_, Signalled> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An erasure was stored.
    pub(crate) fn wake(&self) {
        self.lock().erased = true;
        self.changed.notify_all();
    }

    /// The log is being closed.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Whether the log is open.
    pub(crate) fn is_open(&self) -> bool {
        !self.lock().closed
    }

    /// Waits for a time, or until the log is closed; whether it is open.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let open = |signalled: &mut Signalled| !signalled.closed;
        let waited = self.changed.wait_timeout_while(self.lock(), time, open);
        !waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    /// Waits for an erasure or a time; whether the log is open.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let idle = |signalled: &mut Signalled| !signalled.closed && !signalled.erased;
        let waited = self.changed.wait_timeout_while(self.lock(), time, idle);
        let mut signalled = waited.unwrap_or_else(PoisonError::into_inner).0;
        signalled.erased = false;
        !signalled.closed
    }
}
