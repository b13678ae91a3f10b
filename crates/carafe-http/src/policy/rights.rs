//! What someone may do.

use carafe_hub::{Access, Grant};

/// What someone may do: see some events, and publish to some topics.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rights {
    /// What they may see.
    pub subscribe: Access,
    /// What they may publish to. An event has to be covered under each of its topics.
    pub publish: Grant,
}

impl Rights {
    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        Self { subscribe: Access::to(Grant::default()), publish: Grant::default() }
    }

    /// See all public events.
    #[must_use]
    pub fn subscribe() -> Self {
        Self { subscribe: Access::public(), ..Self::none() }
    }

    /// Everything: see private events too, and publish.
    #[must_use]
    pub fn all() -> Self {
        Self { subscribe: Access::all(), publish: Grant::all() }
    }

    /// Sets what they may see.
    #[must_use]
    pub fn with_subscribe(mut self, access: Access) -> Self {
        self.subscribe = access;
        self
    }

    /// Sets what they may publish to.
    #[must_use]
    pub fn with_publish(mut self, grant: Grant) -> Self {
        self.publish = grant;
        self
    }

    /// What either of the two may do.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self {
            subscribe: self.subscribe.or(&other.subscribe),
            publish: self.publish.or(&other.publish),
        }
    }
}
