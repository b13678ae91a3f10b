//! What the honest clients of a run share, and what they report.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use super::seen::{Faults, PUBLISHERS};

/// How long subscribers may take to get what is under way when publishers have stopped.
pub(super) const SETTLES: Duration = Duration::from_secs(60);

/// The state that all honest clients share.
pub(super) struct RunState {
    pub(super) hub: SocketAddr,
    /// Publishers stop, then subscribers.
    pub(super) published: AtomicBool,
    pub(super) stopped: AtomicBool,
    /// The number of each publisher's newest event that was acknowledged.
    pub(super) acknowledged: [AtomicU64; PUBLISHERS],
    pub(super) connected: AtomicU64,
}

/// What subscribers got.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delivered {
    pub(crate) events: u64,
    /// Streams that ended, by the hub or by themselves, and were resumed.
    pub(crate) resumed: u64,
    pub(crate) faults: Faults,
}
