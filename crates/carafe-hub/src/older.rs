//! What a new pattern's feed has to know of entries that are older than it.

use std::sync::Arc;

use carafe_log::Entry;
use carafe_protocol::{Offset, Topic, TopicMatcher};

use crate::ids::FeedId;
#[cfg(test)]
use crate::scanned::TESTS;

/// How many entries are tested at a time, between two looks at what has changed.
pub(crate) const AT_ONCE: usize = 64;

/// How many tests of entries a subscription may need to be served from the ring. Above, it reads
/// the log.
pub(crate) const MOST: usize = 4096;

/// Entries that a feed does not know. They are tested without the hub's lock.
pub(crate) struct Older {
    pub(crate) feed: FeedId,
    pub(crate) matcher: TopicMatcher,
    /// The feed knows all after this offset.
    pub(crate) until: Offset,
    /// It will know all after this one.
    pub(crate) since: Offset,
    /// Those in between, the newest first.
    pub(crate) entries: Vec<Arc<Entry>>,
}

/// Those of them that match, each with the topics that do.
pub(crate) struct Matching {
    pub(crate) feed: FeedId,
    pub(crate) until: Offset,
    pub(crate) since: Offset,
    pub(crate) matching: Vec<(Offset, Vec<Topic>)>,
}

impl Older {
    /// Tests them.
    pub(crate) fn test(self) -> Matching {
        let Self { feed, matcher, until, since, entries } = self;
        #[cfg(test)]
        TESTS.set(TESTS.get() + entries.len());
        let matching = entries.iter().filter_map(|entry| {
            let topics = entry.publication.topics().filter(|topic| matcher.matches(topic));
            let topics: Vec<_> = topics.cloned().collect();
            (!topics.is_empty()).then_some((entry.offset(), topics))
        });
        Matching { feed, until, since, matching: matching.collect() }
    }
}
