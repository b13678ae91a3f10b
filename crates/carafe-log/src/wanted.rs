//! The topics that a request wants, and what it may cost to find their entries.

use std::hash::{BuildHasher, RandomState};

use carafe_protocol::{Topic, TopicMatcher};

use crate::Publication;

/// The topics that a request wants.
pub(crate) struct Wanted {
    matchers: Box<[TopicMatcher]>,
    any: bool,
    /// How many of the matchers are patterns.
    patterns: usize,
}

/// Tells sets of matchers apart. The keys are random, so that nobody finds two sets with the same
/// number.
pub(crate) type SetId = (u64, u64);

/// Makes the numbers of sets.
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

    /// Whether all topics are wanted.
    pub(crate) fn any(&self) -> bool {
        self.any
    }

    /// Whether none is.
    pub(crate) fn none(&self) -> bool {
        self.matchers.is_empty()
    }

    /// The topics, if there are no patterns.
    pub(crate) fn topics(&self) -> Option<impl Iterator<Item = &Topic>> {
        (self.patterns == 0).then(|| {
            self.matchers.iter().filter_map(|matcher| match matcher {
                TopicMatcher::Exact(topic) => Some(topic),
                TopicMatcher::Pattern(_) => None,
            })
        })
    }

    /// Tests a topic, for which the budget pays.
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

/// What a thread that reads may do before others have their turn, and what a request may do in all.
pub(crate) struct Budget {
    turn: u64,
    /// Patterns that were tested.
    tests: u64,
}

/// The cost of a turn: some milliseconds.
const TURN: u64 = 1 << 19;

/// What a test of a pattern costs, where looking at an entry costs one.
const TEST: u64 = 32;

/// Bytes that are read and decoded in about the time that looking at an entry takes.
const BYTES: u64 = 32;

impl Budget {
    /// For one turn.
    pub(crate) fn turn() -> Self {
        Self { turn: TURN, tests: 0 }
    }

    /// For what is done at once, on a thread that has other things to do: some hundred
    /// microseconds.
    pub(crate) fn at_once() -> Self {
        Self { turn: TURN / 32, tests: 0 }
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.turn == 0
    }

    pub(crate) fn examine(&mut self) {
        self.turn = self.turn.saturating_sub(1);
    }

    /// Pays for bytes that are read from the disk.
    pub(crate) fn read(&mut self, bytes: usize) {
        self.turn = self.turn.saturating_sub(bytes as u64 / BYTES);
    }

    fn test(&mut self, patterns: usize) {
        self.tests += patterns as u64;
        self.turn = self.turn.saturating_sub(patterns as u64 * TEST);
    }

    /// Patterns that were tested so far.
    pub(crate) fn tests(&self) -> u64 {
        self.tests
    }
}
