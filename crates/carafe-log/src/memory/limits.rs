//! The limits of a log in memory.

use std::time::Duration;

/// How much history a [`MemoryLog`](crate::MemoryLog) keeps, and what a search may cost.
///
/// Events that the hub publishes itself do not count. The log keeps a thousand of those at most, of
/// 1 MiB at most.
///
/// ```
/// use carafe_log::{MemoryLimits, MemoryLog};
///
/// let log = MemoryLog::new(MemoryLimits::default().with_entries(1000).with_bytes(1 << 20));
/// # drop(log);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MemoryLimits {
    /// The maximum number of entries. A million by default.
    pub entries: usize,
    /// The maximum number of bytes, by [`Entry::weight`](crate::Entry::weight). 64 MiB by default.
    pub bytes: usize,
    /// How long the log remembers an idempotency key while it keeps the entry. Publishing again
    /// with a remembered key stores nothing. One day by default.
    pub key_window: Duration,
    /// The maximum number of pattern tests that one search for the last entries may take: patterns
    /// times the entries that they are tested with. 20 million by default.
    pub pattern_tests: u64,
    /// The maximum number of ended and stopped topics that the log remembers; a further end or stop
    /// fails with [`AppendError::TooManyEnded`](crate::AppendError::TooManyEnded). A million by
    /// default.
    pub ended_topics: usize,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        let (key_window, pattern_tests) = (crate::KEY_WINDOW, crate::PATTERN_TESTS);
        let ended_topics = crate::ENDED_TOPICS;
        Self { entries: 1_000_000, bytes: 64 << 20, key_window, pattern_tests, ended_topics }
    }
}

impl MemoryLimits {
    /// Sets [`entries`](Self::entries).
    #[must_use]
    pub fn with_entries(mut self, entries: usize) -> Self {
        self.entries = entries;
        self
    }

    /// Sets [`bytes`](Self::bytes).
    #[must_use]
    pub fn with_bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets [`key_window`](Self::key_window).
    #[must_use]
    pub fn with_key_window(mut self, key_window: Duration) -> Self {
        self.key_window = key_window;
        self
    }

    /// Sets [`pattern_tests`](Self::pattern_tests).
    #[must_use]
    pub fn with_pattern_tests(mut self, pattern_tests: u64) -> Self {
        self.pattern_tests = pattern_tests;
        self
    }

    /// Sets [`ended_topics`](Self::ended_topics).
    #[must_use]
    pub fn with_ended_topics(mut self, ended_topics: usize) -> Self {
        self.ended_topics = ended_topics;
        self
    }
}
