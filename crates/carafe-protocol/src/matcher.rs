//! What a subscriber asks for.

use std::fmt;

use crate::{Topic, TopicPattern};

/// What a subscriber asks for: one topic, or all that match a URL Pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicMatcher {
    /// Exactly this topic.
    Exact(Topic),
    /// Every topic that the pattern matches.
    Pattern(TopicPattern),
}

impl TopicMatcher {
    /// Matches every topic.
    #[must_use]
    pub fn any() -> Self {
        Self::Pattern(TopicPattern::any())
    }

    /// Whether an event published to `topic` is wanted.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        match self {
            Self::Exact(wanted) => wanted == topic,
            Self::Pattern(pattern) => pattern.matches(topic.as_str()),
        }
    }
}

impl From<Topic> for TopicMatcher {
    fn from(topic: Topic) -> Self {
        Self::Exact(topic)
    }
}

impl From<TopicPattern> for TopicMatcher {
    fn from(pattern: TopicPattern) -> Self {
        Self::Pattern(pattern)
    }
}

impl fmt::Display for TopicMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(topic) => topic.fmt(f),
            Self::Pattern(pattern) => pattern.fmt(f),
        }
    }
}
