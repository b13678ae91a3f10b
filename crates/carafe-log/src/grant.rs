//! A set of topics that a client may publish or subscribe to.

use std::collections::BTreeSet;
use std::sync::Arc;

use carafe_protocol::{Topic, TopicMatcher};

/// The topics that a client may publish or subscribe to: those that at least one of its matchers
/// matches. The default grant covers no topic. A clone shares the matchers and does not copy them.
///
/// ```
/// use carafe_log::Grant;
/// use carafe_protocol::{Topic, TopicPattern};
///
/// let grant = Grant::to([TopicPattern::new("orders/*")?.into()]);
/// assert!(grant.covers(&Topic::new("orders/7")?));
/// assert!(!grant.covers(&Topic::new("invoices/7")?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Grant(Arc<[TopicMatcher]>);

impl Grant {
    /// Covers the topics that at least one of these matchers matches.
    #[must_use]
    pub fn to(matchers: impl IntoIterator<Item = TopicMatcher>) -> Self {
        // Sorted and without duplicates, so that equal sets of matchers are equal grants.
        Self(matchers.into_iter().collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// Covers all topics.
    #[must_use]
    pub fn all() -> Self {
        Self([TopicMatcher::any()].into())
    }

    /// The union of two grants.
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

    /// Whether the grant covers no topic.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the grant covers all topics.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0
            .iter()
            .any(|matcher| matches!(matcher, TopicMatcher::Pattern(pattern) if pattern.is_any()))
    }

    /// Whether the grant covers this topic. None covers a [reserved](Topic::is_reserved) topic, not
    /// even one that covers all others.
    #[must_use]
    pub fn covers(&self, topic: &Topic) -> bool {
        !topic.is_reserved() && self.0.iter().any(|matcher| matcher.matches(topic))
    }

    /// The matchers of the grant, sorted and without duplicates.
    #[must_use]
    pub fn matchers(&self) -> &[TopicMatcher] {
        &self.0
    }
}
