//! A failed attempt to publish, and whether another may succeed.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use tokio::time::error::Elapsed;

use crate::cause::Cause;
use crate::http::{is_temporary, is_untrusted, retry_after, words};
use crate::publisher_error::PublisherError;
use crate::redirect::SendError;
use crate::token::NoToken;

/// A failed attempt.
pub(crate) struct Failed {
    pub(crate) error: PublisherError,
    /// Whether another attempt may succeed.
    pub(crate) is_temporary: bool,
    pub(crate) retry_after: Duration,
}

impl Failed {
    /// No response has arrived.
    pub(crate) fn sending(error: SendError, url: &str) -> Self {
        let is_temporary = !matches!(&error, SendError::Http(error) if is_untrusted(error));
        // Only if nothing was sent, surely nothing is stored.
        let error = if error.was_sent() {
            PublisherError::Unknown(error.into())
        } else {
            PublisherError::Unreachable { url: url.to_owned(), reason: error.into() }
        };
        Self { error, is_temporary, retry_after: Duration::ZERO }
    }

    /// The response does not say what has become of the events.
    pub(crate) fn reading(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        PublisherError::Unknown(Cause::of(error)).into()
    }

    /// The hub, or a proxy, has refused the request.
    pub(crate) async fn by(response: Response) -> Self {
        let (status, after) = (response.status(), retry_after(response.headers()));
        Self::by_status(status, after, words(response).await)
    }

    /// The same, of a response that was read.
    pub(crate) fn by_status(status: StatusCode, after: Option<Duration>, words: String) -> Self {
        let error = if status.is_server_error() && !rejects_for_now(status) {
            PublisherError::Unknown(words.into())
        } else {
            PublisherError::Refused { status: status.as_u16(), words }
        };
        Self { error, is_temporary: is_temporary(status), retry_after: after.unwrap_or_default() }
    }

    pub(crate) fn is_unauthorized(&self) -> bool {
        matches!(self.error, PublisherError::Refused { status: 401, .. })
    }
}

impl From<NoToken> for Failed {
    fn from(missing: NoToken) -> Self {
        match missing {
            NoToken::Failed(error) => PublisherError::NoToken(error).into(),
            NoToken::Unsendable => PublisherError::UnsendableToken.into(),
        }
    }
}

impl From<Elapsed> for Failed {
    fn from(elapsed: Elapsed) -> Self {
        PublisherError::NoToken(Cause::of(elapsed)).into()
    }
}

impl From<PublisherError> for Failed {
    fn from(error: PublisherError) -> Self {
        let is_temporary = matches!(error, PublisherError::Unknown(_) | PublisherError::NoToken(_));
        Self { error, is_temporary, retry_after: Duration::ZERO }
    }
}

/// Whether the hub itself rejects the request for now: then it has stored nothing. With another
/// code, a proxy may have replaced a response of a hub that has stored the events.
fn rejects_for_now(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::INSUFFICIENT_STORAGE
    )
}
