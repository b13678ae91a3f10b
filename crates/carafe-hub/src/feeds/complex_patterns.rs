//! Complex patterns, which have to be tested one after the other.
//!
//! A test may be slow, and there may be very many topics. So no pattern is tested here, under the
//! hub's lock: this module says which patterns have not been tested with a topic yet, and the
//! result is kept with the topic's feed. The thread that delivers entries runs the tests without
//! the lock.

use std::collections::{BTreeMap, HashMap};

use carafe_protocol::{Topic, TopicPattern};
use smallvec::SmallVec;

use crate::ids::FeedId;

/// Numbers the patterns in the order in which they were added. A number is never reused.
pub(crate) type Serial = u64;

/// Patterns that are tested before the set of patterns is checked again.
const PATTERNS_AT_ONCE: usize = 64;

/// The complex patterns, each with its feed.
pub(crate) struct ComplexPatterns {
    patterns: BTreeMap<Serial, (TopicPattern, FeedId)>,
    serials: HashMap<FeedId, Serial>,
    last: Serial,
}

/// What is known of a topic.
#[derive(Default)]
pub(crate) struct Tested {
    /// All patterns up to this one have been tested.
    pub(crate) to: Serial,
    /// The tested patterns that match. Some may have been removed since.
    pub(crate) matching: SmallVec<[Serial; 2]>,
}

/// Patterns to be tested with some topics. The tests run without the lock.
pub(crate) struct Untested(Vec<(Topic, Vec<(Serial, TopicPattern)>)>);

impl ComplexPatterns {
    pub(crate) fn new() -> Self {
        Self { patterns: BTreeMap::new(), serials: HashMap::new(), last: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.patterns.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    pub(crate) fn insert(&mut self, pattern: TopicPattern, feed: FeedId) {
        self.last += 1;
        self.patterns.insert(self.last, (pattern, feed));
        self.serials.insert(feed, self.last);
    }

    pub(crate) fn remove(&mut self, feed: FeedId) {
        if let Some(serial) = self.serials.remove(&feed) {
            self.patterns.remove(&serial);
        }
    }

    pub(crate) fn serial_of(&self, feed: FeedId) -> Option<Serial> {
        self.serials.get(&feed).copied()
    }

    /// The feed of a pattern that has not been removed.
    pub(crate) fn feed(&self, serial: Serial) -> Option<FeedId> {
        self.patterns.get(&serial).map(|(_, feed)| *feed)
    }

    /// Whether all current patterns are among those tested up to `tested_to`.
    pub(crate) fn all_tested(&self, tested_to: Serial) -> bool {
        self.patterns.last_key_value().is_none_or(|(last, _)| *last <= tested_to)
    }

    /// Some of the patterns to be tested with these topics. Each topic comes with the last pattern
    /// that was tested.
    pub(crate) fn untested<'a>(
        &self,
        topics: impl Iterator<Item = (&'a Topic, Serial)>,
    ) -> Option<Untested> {
        let (mut untested, mut room) = (Vec::new(), PATTERNS_AT_ONCE);
        for (topic, tested_to) in topics {
            // Serials grow, so what follows `tested_to` are exactly the patterns that were added
            // since.
            let rest = self.patterns.range(tested_to + 1..).take(room);
            let patterns: Vec<_> =
                rest.map(|(serial, (pattern, _))| (*serial, pattern.clone())).collect();
            room -= patterns.len();
            untested.push((topic.clone(), patterns));
            if room == 0 {
                break;
            }
        }
        (!untested.is_empty()).then_some(Untested(untested))
    }
}

impl Tested {
    /// Adds a pattern that matches.
    pub(crate) fn add(&mut self, serial: Serial) {
        if !self.matching.contains(&serial) {
            self.matching.push(serial);
        }
    }
}

impl Untested {
    /// Tests the patterns.
    pub(crate) fn test(self) -> Vec<(Topic, Tested)> {
        self.0.into_iter().map(|(topic, patterns)| test(topic, patterns)).collect()
    }
}

fn test(topic: Topic, patterns: Vec<(Serial, TopicPattern)>) -> (Topic, Tested) {
    #[cfg(test)]
    TESTS.set(TESTS.get() + patterns.len());
    // Sorted by serial, so the last one covers all before it.
    let to = patterns.last().map_or(0, |(serial, _)| *serial);
    let matching = patterns.into_iter().filter(|(_, pattern)| pattern.matches(topic.as_str()));
    let matching = matching.map(|(serial, _)| serial).collect();
    (topic, Tested { to, matching })
}

#[cfg(test)]
thread_local! {
    /// Counts the tests.
    pub(crate) static TESTS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}
