//! Fills the feed of a new pattern with entries that are older than the feed.
//!
//! The feed of a new pattern begins at the tail of the ring. A subscription that resumes before it
//! is served from the ring if that takes few tests. The tests run without the hub's lock, some at a
//! time; the subscription that needs them runs them on its task.

use std::sync::Arc;

use carafe_log::Entry;
use carafe_protocol::{Offset, Topic, TopicMatcher};

#[cfg(test)]
use crate::feeds::complex_patterns::TESTS;
use crate::ids::FeedId;

/// Entries that are tested before the state of the feed is checked again.
pub(crate) const ENTRIES_AT_ONCE: usize = 64;

/// Tests that a subscription may need to be served from the ring. With more, it reads the log.
pub(crate) const MAX_TESTS: usize = 4096;

/// Entries that a feed does not know yet.
pub(crate) struct Backfill {
    pub(crate) feed: FeedId,
    pub(crate) matcher: TopicMatcher,
    /// The feed knows all entries after this offset.
    pub(crate) until: Offset,
    /// With the result, the feed knows all entries after this one.
    pub(crate) since: Offset,
    /// The entries between the two, newest first.
    pub(crate) entries: Vec<Arc<Entry>>,
}

/// The entries that match, each with the topics that do.
pub(crate) struct BackfillResult {
    pub(crate) feed: FeedId,
    pub(crate) until: Offset,
    pub(crate) since: Offset,
    pub(crate) matching: Vec<(Offset, Vec<Topic>)>,
}

impl Backfill {
    /// Tests the entries.
    pub(crate) fn test(self) -> BackfillResult {
        let Self { feed, matcher, until, since, entries } = self;
        #[cfg(test)]
        TESTS.set(TESTS.get() + entries.len());
        let matching = entries.iter().filter_map(|entry| {
            let topics = entry.publication.topics().filter(|topic| matcher.matches(topic));
            let topics: Vec<_> = topics.cloned().collect();
            (!topics.is_empty()).then_some((entry.offset(), topics))
        });
        BackfillResult { feed, until, since, matching: matching.collect() }
    }
}
