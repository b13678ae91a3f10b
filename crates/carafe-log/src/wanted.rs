//! The matchers of a request, and the budget for finding the entries that they match.

use std::hash::{BuildHasher, RandomState};

use carafe_protocol::{Topic, TopicMatcher};

use crate::Publication;

/// The matchers of a request.
pub(crate) struct Wanted {
    matchers: Box<[TopicMatcher]>,
    any: bool,
    /// The number of matchers that are patterns.
    patterns: usize,
}

/// Identifies a set of matchers by two hashes with random keys. A client cannot construct two sets
/// with the same identity.
pub(crate) type SetId = (u64, u64);

/// Computes the identities of sets.
#[derive(Default)]
pub(crate) struct SetKeys(RandomState, RandomState);

impl SetKeys {
    pub(crate) fn of(&self, wanted: &Wanted) -> SetId {
        (self.0.hash_one(&wanted.matchers), self.1.hash_one(&wanted.matchers))
    }
}

impl Wanted {
    pub(crate) fn new(matchers: impl Into<Box<[TopicMatcher]>>) -> Self {
        let matchers = matchers.into();
        let pattern = |matcher: &TopicMatcher| match matcher {
            TopicMatcher::Pattern(pattern) => Some(pattern.is_any()),
            TopicMatcher::Exact(_) => None,
        };
        let any = matchers.iter().any(|matcher| pattern(matcher) == Some(true));
        let patterns = matchers.iter().filter(|matcher| pattern(matcher).is_some()).count();
        Self { matchers, any, patterns }
    }

    /// Whether the matchers match all topics.
    pub(crate) fn any(&self) -> bool {
        self.any
    }

    /// Whether there are no matchers.
    pub(crate) fn none(&self) -> bool {
        self.matchers.is_empty()
    }

    /// The topics. `None` if there is a pattern.
    pub(crate) fn topics(&self) -> Option<impl Iterator<Item = &Topic>> {
        (self.patterns == 0).then(|| {
            self.matchers.iter().filter_map(|matcher| match matcher {
                TopicMatcher::Exact(topic) => Some(topic),
                TopicMatcher::Pattern(_) => None,
            })
        })
    }

    /// Tests a topic and charges the budget.
    pub(crate) fn matches(&self, topic: &Topic, budget: &mut Budget) -> bool {
        budget.test(self.patterns);
        self.any || self.matchers.iter().any(|matcher| matcher.matches(topic))
    }

    /// Tests the topics of an event.
    pub(crate) fn matches_any_of(&self, publication: &Publication, budget: &mut Budget) -> bool {
        budget.examine();
        publication.topics().any(|topic| self.matches(topic, budget))
    }
}

/// The work that a read may do in one turn, and a count of the pattern tests so far.
pub(crate) struct Budget {
    turn: u64,
    /// The number of pattern tests.
    tests: u64,
}

/// The budget of one turn, in units of one examined entry: some milliseconds.
const TURN: u64 = 1 << 19;

/// The cost of a pattern test, if examining an entry costs 1.
const TEST: u64 = 32;

/// The number of bytes that take as long to read and decode as one entry to examine.
const BYTES: u64 = 32;

impl Budget {
    /// The budget of one turn.
    pub(crate) fn turn() -> Self {
        Self { turn: TURN, tests: 0 }
    }

    /// The budget of a read on the calling thread, which has other work: some hundred microseconds.
    pub(crate) fn at_once() -> Self {
        Self { turn: TURN / 32, tests: 0 }
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.turn == 0
    }

    pub(crate) fn examine(&mut self) {
        self.turn = self.turn.saturating_sub(1);
    }

    /// Charges for bytes that are read from the disk.
    pub(crate) fn read(&mut self, bytes: usize) {
        self.turn = self.turn.saturating_sub(bytes as u64 / BYTES);
    }

    fn test(&mut self, patterns: usize) {
        self.tests += patterns as u64;
        self.turn = self.turn.saturating_sub(patterns as u64 * TEST);
    }

    /// The number of pattern tests so far.
    pub(crate) fn tests(&self) -> u64 {
        self.tests
    }
}
