//! Tokens that a program fetches when they are needed.

use std::error::Error;
use std::pin::Pin;

use reqwest::header::HeaderValue;

use crate::error::TransportError;
use crate::http::bearer;

/// The token of one request.
pub(crate) type TokenFuture = Pin<Box<dyn Future<Output = Result<HeaderValue, NoToken>> + Send>>;

/// Why a request has no token.
pub(crate) enum NoToken {
    /// The program could not get one. It may get one later.
    Failed(TransportError),
    /// It cannot be sent in a header.
    Unsendable,
}

/// Completes with the token as a header.
pub(crate) fn fetch<E: Error + Send + Sync + 'static>(
    token: impl Future<Output = Result<String, E>> + Send + 'static,
) -> TokenFuture {
    Box::pin(async move {
        let token = token.await.map_err(|error| NoToken::Failed(TransportError::of(error)))?;
        bearer(&token).ok_or(NoToken::Unsendable)
    })
}
