//! What a client may do.

use carafe_hub::{Access, Grant};

/// What a client may do: which events it may see, and to which topics it may publish.
///
/// ```
/// use carafe_http::{Options, Rights};
/// use carafe_hub::Grant;
/// use carafe_protocol::TopicMatcher;
///
/// // Clients without a token see public events, and publish to topics below `feedback/`.
/// let feedback = Grant::to([TopicMatcher::parse("feedback/*")?]);
/// let mut options = Options::default();
/// options.anonymous = Rights::subscribe().with_publish(feedback);
/// # Ok::<(), carafe_protocol::BadMatcher>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rights {
    /// Which events may be seen.
    pub subscribe: Access,
    /// Which topics may be published to. All topics of an event have to be granted.
    pub publish: Grant,
}

impl Rights {
    /// No rights.
    #[must_use]
    pub fn none() -> Self {
        Self { subscribe: Access::to(Grant::default()), publish: Grant::default() }
    }

    /// The right to see all public events.
    #[must_use]
    pub fn subscribe() -> Self {
        Self { subscribe: Access::public(), ..Self::none() }
    }

    /// All rights: to see private events, too, and to publish to any topic.
    #[must_use]
    pub fn all() -> Self {
        Self { subscribe: Access::all(), publish: Grant::all() }
    }

    /// Sets which events may be seen.
    #[must_use]
    pub fn with_subscribe(mut self, access: Access) -> Self {
        self.subscribe = access;
        self
    }

    /// Sets which topics may be published to.
    #[must_use]
    pub fn with_publish(mut self, grant: Grant) -> Self {
        self.publish = grant;
        self
    }

    /// The rights of both.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self {
            subscribe: self.subscribe.or(&other.subscribe),
            publish: self.publish.or(&other.publish),
        }
    }
}
