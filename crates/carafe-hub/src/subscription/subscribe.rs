//! A request for a subscription: what it wants, from where on, and why it may be rejected.

use std::collections::HashSet;
use std::convert::Infallible;

use carafe_log::{Access, ReadError};
use carafe_protocol::{BadMatcher, Position, Topic, TopicMatcher, TopicPattern};

use crate::client::Client;
use crate::feeds::patterns::{TooManyComplexPatterns, TooManyPatterns, is_complex};

/// A request for a subscription: which topics, and from where on.
///
/// ```
/// use carafe_hub::{Start, Subscribe};
/// use carafe_protocol::{BadMatcher, TopicMatcher};
///
/// let matchers = [TopicMatcher::parse("orders/*")?, TopicMatcher::parse("news")?];
/// let request = Subscribe::to_all(matchers).from(Start::Last(10));
/// # drop(request);
/// # Ok::<(), BadMatcher>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Subscribe {
    pub(crate) matchers: Vec<TopicMatcher>,
    everything: bool,
    pub(crate) start: Start,
    pub(crate) on_gap: OnGap,
    pub(crate) access: Access,
    pub(crate) limit: Option<usize>,
    pub(crate) client: Option<Client>,
}

/// From where on a subscription delivers.
///
/// ```
/// use carafe_hub::{Start, Subscribe};
///
/// let request = Subscribe::to_everything().from(Start::Earliest);
/// # drop(request);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// Events that are published from now on.
    #[default]
    Tail,
    /// All history, and then new events.
    Earliest,
    /// The newest matching events, this many, and then new events. If only topics are requested,
    /// and no patterns, this many of each topic.
    Last(usize),
    /// The newest event of each topic, in order, and then new events.
    Latest,
    /// The newest event of each topic, of those after this position, and then new events. So a
    /// snapshot continues that was read in part. The position may be of history that is gone.
    LatestAfter(Position),
    /// Events after this position.
    After(Position),
    /// Events after the event with this ID, as a client sent it back. If the ID is no position, the
    /// stream reports a gap.
    AfterId(String),
}

/// Where a stream resumes after a gap at its start.
///
/// ```
/// use carafe_hub::{OnGap, Start, Subscribe};
///
/// let start = Start::AfterId("of another hub".into());
/// let request = Subscribe::to_everything().from(start).on_gap(OnGap::Earliest);
/// # drop(request);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnGap {
    /// As near to the request as possible: after the last event that the client is known to have,
    /// or else with the oldest event. If the ID is no position, nothing is known of what the client
    /// has: with new events.
    #[default]
    Nearest,
    /// With new events.
    Live,
    /// With the oldest event.
    Earliest,
}

impl Subscribe {
    /// Requests everything that the subscriber may see.
    pub fn to_everything() -> Self {
        Self { everything: true, ..Self::to_all([]) }
    }

    /// Requests the events that one matcher matches.
    pub fn to(matcher: impl Into<TopicMatcher>) -> Self {
        Self::to_all([matcher.into()])
    }

    /// Requests the events that any of the matchers matches, each event once.
    #[expect(
        clippy::mutable_key_type,
        reason = "matchers are compared by their text, which does not change"
    )]
    pub fn to_all(matchers: impl IntoIterator<Item = TopicMatcher>) -> Self {
        let mut known = HashSet::new();
        let unique = matchers.into_iter().filter(|matcher| known.insert(matcher.clone())).collect();
        Self {
            matchers: unique,
            everything: false,
            start: Start::Tail,
            on_gap: OnGap::default(),
            access: Access::public(),
            limit: None,
            client: None,
        }
    }

    /// Sets from where on to deliver.
    pub fn from(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Sets where the stream resumes if the history after its start is gone.
    pub fn on_gap(mut self, on_gap: OnGap) -> Self {
        self.on_gap = on_gap;
        self
    }

    /// Sets what the subscriber may see; without it, public events. Events that it may not see are
    /// not delivered.
    pub fn with_access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Sets how many matchers this subscription may have, in place of
    /// [`HubLimits::matchers`](crate::HubLimits::matchers).
    pub fn with_limit(mut self, matchers: usize) -> Self {
        self.limit = Some(matchers);
        self
    }

    /// Sets the client of the subscription. Limits per client apply to it, and the hub shares its
    /// resources fairly among clients. Subscriptions without a client count as those of one.
    pub fn by(mut self, client: impl Into<Option<Client>>) -> Self {
        self.client = client.into();
        self
    }

    /// The topics that are requested by name.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.matchers.iter().filter_map(|matcher| match matcher {
            TopicMatcher::Exact(topic) => Some(topic),
            TopicMatcher::Pattern(_) => None,
        })
    }

    /// Replaces a request for everything by the matchers that this subscriber may request.
    pub(crate) fn resolve_everything(&mut self) {
        if self.everything {
            self.matchers = self.access.matchers();
        }
    }

    /// Whether several topics are requested, and no patterns.
    pub(crate) fn has_several_topics(&self) -> bool {
        let is_topic = |matcher: &TopicMatcher| matches!(matcher, TopicMatcher::Exact(_));
        self.matchers.len() > 1 && self.matchers.iter().all(is_topic)
    }

    /// How many complex patterns the request has.
    pub(crate) fn complex_patterns(&self) -> usize {
        let complex = |matcher: &&TopicMatcher| match matcher {
            TopicMatcher::Exact(_) => false,
            TopicMatcher::Pattern(pattern) => is_complex(pattern),
        };
        self.matchers.iter().filter(complex).count()
    }

    /// Whether the subscriber may make this request.
    ///
    /// # Errors
    /// When the request has a topic of which the subscriber may see no event, or the subscriber may
    /// see no event at all.
    pub fn check(&self) -> Result<(), SubscribeError> {
        let is_rejected = |matcher: &&TopicMatcher| !self.access.may_show(matcher);
        match self.matchers.iter().find(is_rejected) {
            _ if self.everything && self.access.is_empty() => Err(SubscribeError::NothingGranted),
            Some(TopicMatcher::Exact(topic)) => Err(SubscribeError::NotGranted(topic.clone())),
            Some(TopicMatcher::Pattern(_)) => Err(SubscribeError::NothingGranted),
            None => Ok(()),
        }
    }
}

impl From<TopicMatcher> for Subscribe {
    fn from(matcher: TopicMatcher) -> Self {
        Self::to(matcher)
    }
}

impl From<Topic> for Subscribe {
    fn from(topic: Topic) -> Self {
        Self::to(topic)
    }
}

impl From<TopicPattern> for Subscribe {
    fn from(pattern: TopicPattern) -> Self {
        Self::to(pattern)
    }
}

impl TryFrom<&str> for Subscribe {
    type Error = BadMatcher;

    fn try_from(text: &str) -> Result<Self, BadMatcher> {
        TopicMatcher::parse(text).map(Self::to)
    }
}

impl TryFrom<&String> for Subscribe {
    type Error = BadMatcher;

    fn try_from(text: &String) -> Result<Self, BadMatcher> {
        Self::try_from(text.as_str())
    }
}

impl TryFrom<String> for Subscribe {
    type Error = BadMatcher;

    fn try_from(text: String) -> Result<Self, BadMatcher> {
        Self::try_from(text.as_str())
    }
}

/// Why a subscription was rejected.
///
/// ```
/// use carafe_hub::{Access, Grant, Subscribe, SubscribeError};
///
/// let nothing = Access::to(Grant::default());
/// let request = Subscribe::to_everything().with_access(nothing);
/// assert_eq!(request.check(), Err(SubscribeError::NothingGranted));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The text is neither a topic nor a pattern.
    #[error(transparent)]
    BadMatcher(#[from] BadMatcher),
    /// The subscriber may see no event of this topic. The error is the same whether the topic
    /// exists or not.
    #[error(
        "the topic `{0}` is not among those that may be subscribed to: ask for others, or for a \
         grant of it"
    )]
    NotGranted(Topic),
    /// The subscriber may see no event at all.
    #[error("no topic may be subscribed to: ask for a grant of some")]
    NothingGranted,
    /// The request has more matchers than the hub allows.
    #[error(
        "a subscription may have {limit} topics and patterns at most: ask for fewer, or use \
         a pattern for several"
    )]
    TooManyMatchers {
        /// How many matchers a subscription may have.
        limit: usize,
    },
    /// The hub uses as many complex patterns as it allows.
    #[error(transparent)]
    TooManyComplexPatterns(#[from] TooManyComplexPatterns),
    /// The client uses as many complex patterns as it may.
    #[error(
        "the client has {limit} complex patterns in use, as many as it may have: use literals, \
         `:name` and one `*` between slashes, or close other streams first"
    )]
    TooManyComplexPatternsOfClient {
        /// How many distinct complex patterns a client may use.
        limit: usize,
    },
    /// The request has more complex patterns than the client may ever use.
    #[error(
        "a client may have {limit} complex patterns at most: use literals, `:name` and one \
         `*` between slashes, or ask for fewer"
    )]
    TooComplex {
        /// How many distinct complex patterns a client may use.
        limit: usize,
    },
    /// The snapshots of other subscriptions use all memory that snapshots may use.
    #[error(
        "the snapshots that other streams have not read yet use all memory for them: try again in \
         a moment"
    )]
    TooManySnapshots,
    /// The hub is draining.
    #[error("the hub is shutting down: connect again in a moment")]
    Draining,
    /// The log cannot be read.
    #[error("the history cannot be read: {0}")]
    Read(#[from] ReadError),
}

impl From<Infallible> for SubscribeError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<TooManyPatterns> for SubscribeError {
    fn from(too_many: TooManyPatterns) -> Self {
        match too_many {
            TooManyPatterns::InAll { limit } => TooManyComplexPatterns { limit }.into(),
            TooManyPatterns::OfClient { limit } => Self::TooManyComplexPatternsOfClient { limit },
        }
    }
}
