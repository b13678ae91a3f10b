//! The rule for which entries a reader may see. The hub, the searches of a log and the HTTP API all
//! ask [`Access`]; none of them decides on its own.

use carafe_protocol::{Topic, TopicMatcher};

use crate::{Grant, Publication};

/// The entries that a reader may see: all entries of the topics of a [`Grant`], and, if set, the
/// public entries of all other topics.
///
/// ```
/// use carafe_log::{Access, Grant, Publication};
/// use carafe_protocol::{Topic, TopicMatcher};
///
/// let (alice, bob) = (Topic::new("users/alice")?, Topic::new("users/bob")?);
/// let access = Access::to(Grant::to([TopicMatcher::from(alice.clone())])).with_public(true);
///
/// assert!(access.shows(&Publication::new(alice, "mail").with_private(true)));
/// assert!(access.shows(&Publication::new(bob.clone(), "online")));
/// assert!(!access.shows(&Publication::new(bob, "mail").with_private(true)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    public: bool,
    grant: Grant,
}

impl Default for Access {
    /// The public entries of all topics.
    fn default() -> Self {
        Self::public()
    }
}

impl Access {
    /// Shows the public entries of all topics.
    #[must_use]
    pub fn public() -> Self {
        Self { public: true, grant: Grant::default() }
    }

    /// Shows all entries, private ones too.
    #[must_use]
    pub fn all() -> Self {
        Self::to(Grant::all())
    }

    /// Shows all entries of the topics of the grant, private ones too, and none of other topics.
    #[must_use]
    pub fn to(grant: Grant) -> Self {
        Self { public: false, grant }
    }

    /// Sets whether the public entries of all other topics are shown too.
    #[must_use]
    pub fn with_public(mut self, public: bool) -> Self {
        self.public = public;
        self
    }

    /// Shows the entries that at least one of the two shows.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self { public: self.public || other.public, grant: self.grant.or(&other.grant) }
    }

    /// Whether the public entries of all topics are shown.
    #[must_use]
    pub fn includes_public(&self) -> bool {
        self.public
    }

    /// The topics of which all entries are shown.
    #[must_use]
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Whether no entry of any topic is shown.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.public && self.grant.is_empty()
    }

    /// Whether this entry is shown.
    #[must_use]
    pub fn shows(&self, publication: &Publication) -> bool {
        self.shows_as_public(publication)
            || (publication.matches(self.grant.matchers()) && !publication.is_internal())
    }

    /// Whether this entry is shown because it is public. Does not look at its topics, so it takes
    /// constant time.
    #[must_use]
    pub fn shows_as_public(&self, publication: &Publication) -> bool {
        self.public && !publication.is_private() && !publication.is_internal()
    }

    /// Whether all entries of this topic are shown, private ones too.
    #[must_use]
    pub fn covers_topic(&self, topic: &Topic) -> bool {
        self.grant.covers(topic)
    }

    /// Whether all entries that the matcher matches are shown, private ones too. A pattern counts
    /// as covered only if the grant covers all topics or has the same pattern.
    #[must_use]
    pub fn covers(&self, matcher: &TopicMatcher) -> bool {
        match matcher {
            TopicMatcher::Exact(topic) => self.grant.covers(topic),
            TopicMatcher::Pattern(_) => {
                // Whether one pattern covers another cannot be decided cheaply. A wrong `false`
                // only means that entries are tested one by one.
                self.grant.is_all() || self.grant.matchers().contains(matcher)
            }
        }
    }

    /// Whether any entry that the matcher matches could be shown. The answer is exact for a single
    /// topic; for a pattern it is `true` unless the access is empty.
    #[must_use]
    pub fn may_show(&self, matcher: &TopicMatcher) -> bool {
        match matcher {
            TopicMatcher::Exact(topic) if topic.is_reserved() => false,
            TopicMatcher::Exact(topic) => self.public || self.grant.covers(topic),
            // A wrong `true` only opens a stream that shows nothing.
            TopicMatcher::Pattern(_) => !self.is_empty(),
        }
    }

    /// The matchers that together match every entry that is shown.
    #[must_use]
    pub fn matchers(&self) -> Vec<TopicMatcher> {
        if self.public { vec![TopicMatcher::any()] } else { self.grant.matchers().to_vec() }
    }
}
