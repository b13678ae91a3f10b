//! What a client may do.

use std::time::SystemTime;

use carafe_hub::{Access, Grant};

/// What a client may do: which events it may see, to which topics it may publish, and what else it
/// may do with topics.
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
///
/// # An app's own users
///
/// A middleware decides the rights of a request by putting them into its extensions. Then the
/// router looks at no token, and [`Options::anonymous`](crate::Options::anonymous) is not added:
///
/// ```
/// use axum::extract::Request;
/// use axum::http::StatusCode;
/// use axum::middleware::{Next, from_fn};
/// use axum::response::Response;
/// use carafe_http::{HubExt, Rights};
/// use carafe_hub::{Access, Grant, Hub};
/// use carafe_log::MemoryLog;
/// use carafe_protocol::TopicMatcher;
/// # use std::time::{Duration, SystemTime};
/// # struct Session { user: u32, expires: SystemTime }
/// # fn session_of(_: &Request) -> Option<Session> {
/// #     Some(Session { user: 7, expires: SystemTime::now() + Duration::from_secs(60) })
/// # }
///
/// async fn users(mut request: Request, next: Next) -> Result<Response, StatusCode> {
///     // However the app recognises its users.
///     let session = session_of(&request).ok_or(StatusCode::UNAUTHORIZED)?;
///     let own = TopicMatcher::parse(&format!("users/{}/*", session.user));
///     let own = Grant::to([own.expect("a number is a valid segment")]);
///     let rights = Rights::none()
///         .with_subscribe(Access::to(own))
///         .with_identity(session.user.to_string())
///         .with_expiry(session.expires);
///     request.extensions_mut().insert(rights);
///     Ok(next.run(request).await)
/// }
///
/// let hub = Hub::new(MemoryLog::default());
/// let app: axum::Router =
///     axum::Router::new().nest("/live", hub.router().layer(from_fn(users)));
/// ```
///
/// Browsers send a session cookie with requests of any page. So a request that publishes with such
/// rights is rejected if its `Origin` is neither the app's own nor one of
/// [`Options::origins`](crate::Options::origins).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rights {
    /// Which events may be seen.
    pub subscribe: Access,
    /// Which topics may be published to. All topics of an event have to be granted.
    pub publish: Grant,
    /// Of which topics the producer may be asked to stop.
    pub stop: Grant,
    /// Which ended topics may be reopened. Publishing to them has to be granted, too.
    pub reopen: Grant,
    /// Of which topics events may be erased.
    pub erase: Grant,
    /// Whether tokens may be revoked.
    pub revoke: bool,
    /// When the rights end, and with them a stream that was opened with them.
    pub expires: Option<SystemTime>,
    /// Whose rights they are: a user's ID, or the subject of a token. Limits per client and per
    /// publisher distinguish clients by it, and log lines name it. Clients without one are
    /// distinguished by their address.
    pub identity: Option<String>,
    /// When they were issued, as at a login. [`Revocations`](crate::Revocations) of the identity
    /// refuse only rights that were issued before; without a time, they refuse all.
    pub issued: Option<SystemTime>,
}

impl Rights {
    /// No rights.
    #[must_use]
    pub fn none() -> Self {
        Self {
            subscribe: Access::to(Grant::default()),
            publish: Grant::default(),
            stop: Grant::default(),
            reopen: Grant::default(),
            erase: Grant::default(),
            revoke: false,
            expires: None,
            identity: None,
            issued: None,
        }
    }

    /// The right to see all public events.
    #[must_use]
    pub fn subscribe() -> Self {
        Self { subscribe: Access::public(), ..Self::none() }
    }

    /// All rights: to see private events, too, to do everything with any topic, and to revoke
    /// tokens.
    #[must_use]
    pub fn all() -> Self {
        Self {
            subscribe: Access::all(),
            publish: Grant::all(),
            stop: Grant::all(),
            reopen: Grant::all(),
            erase: Grant::all(),
            revoke: true,
            ..Self::none()
        }
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

    /// Sets of which topics the producer may be asked to stop.
    #[must_use]
    pub fn with_stop(mut self, grant: Grant) -> Self {
        self.stop = grant;
        self
    }

    /// Sets which ended topics may be reopened.
    #[must_use]
    pub fn with_reopen(mut self, grant: Grant) -> Self {
        self.reopen = grant;
        self
    }

    /// Sets of which topics events may be erased.
    #[must_use]
    pub fn with_erase(mut self, grant: Grant) -> Self {
        self.erase = grant;
        self
    }

    /// Sets whether tokens may be revoked.
    #[must_use]
    pub fn with_revoke(mut self, revoke: bool) -> Self {
        self.revoke = revoke;
        self
    }

    /// Sets when the rights end.
    #[must_use]
    pub fn with_expiry(mut self, expires: SystemTime) -> Self {
        self.expires = Some(expires);
        self
    }

    /// Sets whose rights they are.
    #[must_use]
    pub fn with_identity(mut self, identity: impl Into<String>) -> Self {
        self.identity = Some(identity.into());
        self
    }

    /// Sets when they were issued.
    #[must_use]
    pub fn with_issued(mut self, issued: SystemTime) -> Self {
        self.issued = Some(issued);
        self
    }

    /// The rights of both, until the first of them end.
    #[must_use]
    pub fn or(self, other: &Self) -> Self {
        Self {
            subscribe: self.subscribe.or(&other.subscribe),
            publish: self.publish.or(&other.publish),
            stop: self.stop.or(&other.stop),
            reopen: self.reopen.or(&other.reopen),
            erase: self.erase.or(&other.erase),
            revoke: self.revoke || other.revoke,
            expires: self.expires.into_iter().chain(other.expires).min(),
            identity: self.identity.or_else(|| other.identity.clone()),
            issued: self.issued.or(other.issued),
        }
    }
}
