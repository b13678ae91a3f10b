//! What a hub may use.

use crate::feeds::feed_table::PatternLimits;
use crate::retention::Retention;

/// What a hub may use, and how long it shows events.
///
/// ```
/// use carafe_hub::{Hub, HubLimits};
/// use carafe_log::MemoryLog;
///
/// let limits = HubLimits::default().with_ring_bytes(16 << 20).with_matchers(10);
/// let hub = Hub::with_limits(MemoryLog::default(), limits);
/// # drop(hub);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HubLimits {
    /// Bytes of recent entries in memory, approximately.
    pub ring_bytes: usize,
    /// Topics and patterns of one subscription.
    pub matchers: usize,
    /// Distinct complex patterns in use. A pattern is complex unless it consists of literals,
    /// `:name` and one `*` between slashes.
    pub complex_patterns: usize,
    /// Complex patterns of one client, given by [`Subscribe::by`](crate::Subscribe::by).
    pub complex_patterns_per_client: usize,
    /// Subscriptions that read the log at the same time. Others wait for a permit.
    pub replays: usize,
    /// Permits of one client, given by [`Subscribe::by`](crate::Subscribe::by).
    pub replays_per_client: usize,
    /// Events of one snapshot: the newest of each topic that a subscription requests.
    pub latest_events: usize,
    /// Bytes of memory for the snapshots of all open subscriptions, eight for each event that is
    /// not delivered yet. One client may use a half.
    pub snapshot_bytes: usize,
    /// Topics whose events are shown for a shorter time than the log keeps them. A stream that
    /// resumes before events that are no longer shown reports a gap.
    pub retention: Vec<Retention>,
}

impl HubLimits {
    /// Sets [`ring_bytes`](Self::ring_bytes).
    #[must_use]
    pub fn with_ring_bytes(mut self, ring_bytes: usize) -> Self {
        self.ring_bytes = ring_bytes;
        self
    }

    /// Sets [`matchers`](Self::matchers).
    #[must_use]
    pub fn with_matchers(mut self, matchers: usize) -> Self {
        self.matchers = matchers;
        self
    }

    /// Sets [`complex_patterns`](Self::complex_patterns).
    #[must_use]
    pub fn with_complex_patterns(mut self, complex_patterns: usize) -> Self {
        self.complex_patterns = complex_patterns;
        self
    }

    /// Sets [`complex_patterns_per_client`](Self::complex_patterns_per_client).
    #[must_use]
    pub fn with_complex_patterns_per_client(mut self, complex_patterns_per_client: usize) -> Self {
        self.complex_patterns_per_client = complex_patterns_per_client;
        self
    }

    /// Sets [`replays`](Self::replays).
    #[must_use]
    pub fn with_replays(mut self, replays: usize) -> Self {
        self.replays = replays;
        self
    }

    /// Sets [`replays_per_client`](Self::replays_per_client).
    #[must_use]
    pub fn with_replays_per_client(mut self, replays_per_client: usize) -> Self {
        self.replays_per_client = replays_per_client;
        self
    }

    /// Sets [`latest_events`](Self::latest_events).
    #[must_use]
    pub fn with_latest_events(mut self, latest_events: usize) -> Self {
        self.latest_events = latest_events;
        self
    }

    /// Sets [`snapshot_bytes`](Self::snapshot_bytes).
    #[must_use]
    pub fn with_snapshot_bytes(mut self, snapshot_bytes: usize) -> Self {
        self.snapshot_bytes = snapshot_bytes;
        self
    }

    /// Sets [`retention`](Self::retention).
    #[must_use]
    pub fn with_retention(mut self, retention: Vec<Retention>) -> Self {
        self.retention = retention;
        self
    }

    pub(crate) fn patterns(&self) -> PatternLimits {
        PatternLimits { total: self.complex_patterns, per_client: self.complex_patterns_per_client }
    }
}

impl Default for HubLimits {
    /// 64 MiB, 100 matchers, 1000 complex patterns, 100 of one client, 64 replays, 4 of one client,
    /// 100,000 events of a snapshot, and 64 MiB for all snapshots. Everything that the log keeps is
    /// shown.
    fn default() -> Self {
        Self {
            ring_bytes: 64 << 20,
            matchers: 100,
            complex_patterns: 1000,
            complex_patterns_per_client: 100,
            replays: 64,
            replays_per_client: 4,
            latest_events: 100_000,
            snapshot_bytes: 64 << 20,
            retention: Vec::new(),
        }
    }
}
