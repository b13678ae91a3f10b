//! What a hub may use.

use crate::feeds::feed_table::PatternLimits;
use crate::retention::Retention;

/// What a hub may use, and how long it shows events.
#[derive(Clone, Debug)]
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
    /// Topics whose events are shown for a shorter time than the log keeps them. A stream that
    /// resumes before events that are no longer shown reports a gap.
    pub retention: Vec<Retention>,
}

impl HubLimits {
    pub(crate) fn patterns(&self) -> PatternLimits {
        PatternLimits { total: self.complex_patterns, per_client: self.complex_patterns_per_client }
    }
}

impl Default for HubLimits {
    /// 64 MiB, 100 matchers, 1000 complex patterns, 100 of one client, 64 replays, 4 of one client.
    /// Everything that the log keeps is shown.
    fn default() -> Self {
        Self {
            ring_bytes: 64 << 20,
            matchers: 100,
            complex_patterns: 1000,
            complex_patterns_per_client: 100,
            replays: 64,
            replays_per_client: 4,
            retention: Vec::new(),
        }
    }
}
