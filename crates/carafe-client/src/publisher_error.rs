//! The errors of publishing.

use crate::cause::Cause;

/// An error of publishing. Its variants say whether events were stored.
///
/// ```no_run
/// use carafe_client::{Publish, PublisherError, Publisher};
///
/// # async fn example() {
/// let hub = Publisher::new("http://127.0.0.1:3000");
/// match hub.publish(&Publish::to("orders", "espresso").with_key("order-7")).await {
///     Err(PublisherError::Unknown(reason)) => println!("perhaps stored: {reason}"),
///     Err(error) => println!("not stored: {error}"),
///     Ok(position) => println!("stored at {position}"),
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublisherError {
    /// The URL is invalid or is neither `http` nor `https`. Nothing was sent.
    #[error("cannot request {url}: {reason}; use the URL of a hub, such as http://127.0.0.1:3000")]
    BadUrl {
        /// The URL.
        url: String,
        /// What is wrong with it.
        #[source]
        reason: Cause,
    },
    /// The hub cannot be reached. Nothing was stored.
    #[error("cannot connect to {url}: {reason}")]
    Unreachable {
        /// The URL.
        url: String,
        /// The failure.
        #[source]
        reason: Cause,
    },
    /// There is no token for the request: see
    /// [`Publisher::with_bearer_from`](crate::Publisher::with_bearer_from). Nothing was sent.
    #[error("cannot get a token: {0}")]
    NoToken(#[source] Cause),
    /// The token cannot be sent in a header. Nothing was sent.
    #[error("the token has control characters: use it as it was issued, on one line")]
    UnsendableToken,
    /// The hub rejected the request. Nothing was stored.
    #[error("the hub rejects the request ({status}): {words}")]
    Refused {
        /// The status of the response.
        status: u16,
        /// The detail of the hub's problem document, or its status.
        words: String,
    },
    /// The connection broke before the response arrived, in this attempt or in one before it. The
    /// hub may have stored the events.
    #[error(
        "it is unknown whether the hub has stored the events: {0}; with an idempotency key it is \
         safe to publish again"
    )]
    Unknown(#[source] Cause),
}

impl PublisherError {
    /// The same error, when an earlier attempt may have stored the events: it must not say that
    /// nothing was stored.
    pub(crate) fn after_unknown(self, unknown: bool) -> Self {
        match self {
            Self::Unreachable { .. } | Self::Refused { .. } | Self::NoToken(_) if unknown => {
                Self::Unknown(self.to_string().into())
            }
            error => error,
        }
    }
}
