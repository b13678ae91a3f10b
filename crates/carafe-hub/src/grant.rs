//! What someone may publish or subscribe to.

use std::collections::BTreeSet;
use std::sync::Arc;

use carafe_protocol::{Topic, TopicMatcher};

/// Topics that someone may publish or subscribe to: those that one of its matchers matches. Clones
/// are the same grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Grant(Arc<[TopicMatcher]>);

impl Grant {
    /// The topics that one of these matches.
    #[must_use]
    pub fn to(matchers: impl IntoIterator<Item = TopicMatcher>) -> Self {
        Self(matchers.into_iter().collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// All topics.
    #[must_use]
    pub fn all() -> Self {
        Self([TopicMatcher::any()].into())
    }

    /// The topics that one of the two covers.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        if other.is_empty() || self.is_all() {
            return self;
        }
        if self.is_empty() || other.is_all() {
            return other.clone();
        }
        Self::to(self.0.iter().chain(&*other.0).cloned())
    }

    /// Whether it covers no topic.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it covers all topics.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0
            .iter()
            .any(|matcher| matches!(matcher, TopicMatcher::Pattern(pattern) if pattern.is_any()))
    }

    /// Whether it covers this topic.
    #[must_use]
    pub fn covers(&self, topic: &Topic) -> bool {
        self.0.iter().any(|matcher| matcher.matches(topic))
    }

    pub(crate) fn shared(&self) -> Arc<[TopicMatcher]> {
        Arc::clone(&self.0)
    }

    /// What it was made of, each once.
    #[must_use]
    pub fn matchers(&self) -> &[TopicMatcher] {
        &self.0
    }
}
