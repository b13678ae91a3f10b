//! What a subscriber asks for.

use carafe_log::ReadError;
use carafe_protocol::TopicMatcher;

use crate::TooManyComplexPatterns;

/// A request for a subscription: which topics, from where on.
#[derive(Clone, Debug)]
#[must_use]
pub struct Subscribe {
    pub(crate) matchers: Vec<TopicMatcher>,
    pub(crate) start: Start,
    pub(crate) private: bool,
}

/// From where on a subscription delivers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// What is published from now on.
    #[default]
    Tail,
    /// All history first.
    Earliest,
    /// The last so many matching events first.
    Last(usize),
    /// What came after the event with this ID, as a client sends it back. An ID that no log could have given out
    /// is foreign, and told as a gap.
    After(String),
}

impl Subscribe {
    /// Asks for what one matcher matches.
    pub fn to(matcher: impl Into<TopicMatcher>) -> Self {
        Self::to_all([matcher.into()])
    }

    /// Asks for what any of the matchers matches, each event once.
    pub fn to_all(matchers: impl IntoIterator<Item = TopicMatcher>) -> Self {
        let mut unique: Vec<TopicMatcher> = Vec::new();
        for matcher in matchers {
            if !unique.contains(&matcher) {
                unique.push(matcher);
            }
        }
        Self { matchers: unique, start: Start::Tail, private: false }
    }

    /// Sets from where on to deliver.
    pub fn from(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Shows private events too. Without it they are passed over.
    pub fn with_private(mut self, private: bool) -> Self {
        self.private = private;
        self
    }
}

/// Why there is no subscription.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// There are more matchers than the hub allows.
    #[error(
        "a subscription may have {limit} topics and patterns at most: ask for fewer, or use a pattern for several"
    )]
    TooManyMatchers {
        /// How many there may be.
        limit: usize,
    },
    /// The hub has as many complex patterns as it allows.
    #[error(transparent)]
    TooManyComplexPatterns(#[from] TooManyComplexPatterns),
    /// The hub is draining.
    #[error("the hub is shutting down: connect again in a moment")]
    Draining,
    /// The log cannot be read.
    #[error("the history cannot be read: {0}")]
    Read(#[from] ReadError),
}
