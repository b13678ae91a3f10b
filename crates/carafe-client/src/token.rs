//! Tokens that a program fetches when they are needed.

use std::error::Error;
use std::pin::Pin;

use reqwest::header::HeaderValue;

use crate::cause::Cause;
use crate::http::bearer;

/// What a token is fetched for.
///
/// ```
/// use carafe_client::EventSource;
/// # async fn cached() -> std::io::Result<String> { Ok("a".into()) }
/// # async fn new_token() -> std::io::Result<String> { Ok("b".into()) }
///
/// let source = EventSource::options("https://hub.example/events/orders")
///     .bearer_from(async |request| if request.refused { new_token().await } else { cached().await })
///     .connect();
/// # drop(source);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenRequest {
    /// The server has just refused the last token, by 401: it may have expired, so a cached one is
    /// of no use.
    pub refused: bool,
}

/// The token of one request.
pub(crate) type TokenFuture = Pin<Box<dyn Future<Output = Result<HeaderValue, NoToken>> + Send>>;

/// Why a request has no token.
pub(crate) enum NoToken {
    /// The program could not get one. It may get one later.
    Failed(Cause),
    /// It cannot be sent in a header.
    Unsendable,
}

/// Completes with the token as a header.
pub(crate) fn fetch<E: Error + Send + Sync + 'static>(
    token: impl Future<Output = Result<String, E>> + Send + 'static,
) -> TokenFuture {
    Box::pin(async move {
        let token = token.await.map_err(|error| NoToken::Failed(Cause::of(error)))?;
        bearer(&token).ok_or(NoToken::Unsendable)
    })
}

/// Completes with this token.
pub(crate) fn fixed(token: &str) -> TokenFuture {
    Box::pin(std::future::ready(bearer(token).ok_or(NoToken::Unsendable)))
}
