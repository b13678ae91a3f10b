//! Revoking tokens at a hub.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Method, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::cause::Cause;
use crate::connections::Connections;
use crate::http::{bearer, content, parse, words};
use crate::redirect::{Outgoing, SendError};

/// The time limit for a request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Revokes tokens at a hub. The token that it sends needs the claim `revoke`.
///
/// A request that has failed may be made again: revoking the same twice has the effect of once.
///
/// ```no_run
/// use carafe_client::{Revoke, Revoker};
///
/// # async fn example() -> Result<(), carafe_client::RevokerError> {
/// let hub = Revoker::new("http://127.0.0.1:3000").with_bearer("the token");
/// let revoked = hub.revoke(&Revoke::subject("ann")).await?;
/// println!("stored at {}", revoked.position);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Revoker {
    url: String,
    client: Client,
    token: Option<String>,
}

/// Whose tokens to revoke.
///
/// ```
/// use std::time::Duration;
/// use carafe_client::Revoke;
///
/// let account = Revoke::subject("ann").with_issuer("https://login.example.com");
/// let laptop = Revoke::token_id("b3c7a6e0").lasting(Duration::from_secs(8 * 60 * 60));
/// # drop((account, laptop));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[must_use]
pub struct Revoke {
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_before: Option<u64>,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    lasts: Option<u64>,
}

impl Revoke {
    /// All tokens of a subject (`sub`).
    pub fn subject(subject: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..Self::default() }
    }

    /// The token with this ID (`jti`).
    pub fn token_id(token_id: impl Into<String>) -> Self {
        Self { token_id: Some(token_id.into()), ..Self::default() }
    }

    /// Only tokens of this issuer (`iss`).
    pub fn with_issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Only tokens of the subject that were issued before this time, in seconds since 1970, by the
    /// clock of the issuer. By default, that is the second after now.
    pub fn issued_before(mut self, seconds: u64) -> Self {
        self.issued_before = Some(seconds);
        self
    }

    /// Ends the revocation after this time, in whole seconds. By default, it ends with the longest
    /// life of a token that the hub allows, or when it is lifted.
    pub fn lasting(mut self, time: Duration) -> Self {
        self.lasts = Some(time.as_secs() + u64::from(time.subsec_nanos() > 0));
        self
    }
}

/// A revocation that is in force. Times are in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Revoked {
    /// The subject, unless one token is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The ID of the token, if one is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// The issuer whose tokens are meant; `None` means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Tokens of the subject that were issued before this time are refused.
    pub issued_before: u64,
    /// When the revocation ends. `None`: when it is lifted.
    pub until: Option<u64>,
    /// Where the hub has stored the revocation.
    pub position: String,
}

#[derive(Deserialize)]
struct List {
    revocations: Vec<Revoked>,
}

/// Why a hub has revoked nothing, or is not known to have.
///
/// ```no_run
/// use carafe_client::{Revoke, Revoker, RevokerError};
///
/// # async fn example() {
/// let hub = Revoker::new("http://127.0.0.1:3000");
/// if let Err(RevokerError::Refused { status: 401 | 403, .. }) =
///     hub.revoke(&Revoke::subject("ann")).await
/// {
///     println!("a token with the claim `revoke` is needed");
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevokerError {
    /// The URL is invalid or is neither `http` nor `https`.
    #[error("cannot request {url}: {reason}; use the URL of a hub, such as http://127.0.0.1:3000")]
    BadUrl {
        /// The URL.
        url: String,
        /// What is wrong with it.
        #[source]
        reason: Cause,
    },
    /// The token cannot be sent in a header.
    #[error("the token has control characters: use it as it was issued, on one line")]
    UnsendableToken,
    /// The hub cannot be reached.
    #[error("cannot connect to {url}: {reason}")]
    Unreachable {
        /// The URL.
        url: String,
        /// The failure.
        #[source]
        reason: Cause,
    },
    /// The hub rejected the request.
    #[error("the hub rejects the request ({status}): {words}")]
    Refused {
        /// The status of the response.
        status: u16,
        /// The detail of the hub's problem document, or its status.
        words: String,
    },
    /// The response did not arrive, or is not a hub's.
    #[error("it is unknown whether the hub has done it: {0}; do it again")]
    Unknown(#[source] Cause),
}

impl Revoker {
    /// For the hub at this URL. Requests go to the path `/revocations` below it.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        let url: String = url.into();
        let url = format!("{}/revocations", url.trim_end_matches('/'));
        Self { url, client: Connections::new().client, token: None }
    }

    /// Sends this token with each request, as `Authorization: Bearer`.
    #[must_use]
    pub fn with_bearer(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Revokes tokens. When this returns, the hub refuses them, and their streams end.
    ///
    /// # Errors
    /// When the hub rejects the request, or its response does not arrive.
    pub async fn revoke(&self, revoke: &Revoke) -> Result<Revoked, RevokerError> {
        let body = serde_json::to_vec(revoke).expect("an object of texts is always JSON");
        let mut request = Outgoing::to(Method::POST, self.url()?);
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.body = Some(body.into());
        parsed(&self.send(request).await?)
    }

    /// Lifts a revocation: tokens that it has refused are accepted again. `false` if there is none.
    ///
    /// # Errors
    /// As [`revoke`](Self::revoke).
    pub async fn lift(&self, revoke: &Revoke) -> Result<bool, RevokerError> {
        let mut url = self.url()?;
        let names = [
            ("subject", &revoke.subject),
            ("token_id", &revoke.token_id),
            ("issuer", &revoke.issuer),
        ];
        let names = names.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        url.query_pairs_mut().extend_pairs(names);
        match self.send(Outgoing::to(Method::DELETE, url)).await {
            Ok(_) => Ok(true),
            Err(RevokerError::Refused { status: 404, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All revocations that are in force, the oldest first.
    ///
    /// # Errors
    /// As [`revoke`](Self::revoke).
    pub async fn list(&self) -> Result<Vec<Revoked>, RevokerError> {
        let body = self.send(Outgoing::to(Method::GET, self.url()?)).await?;
        let List { revocations } = parsed(&body)?;
        Ok(revocations)
    }

    /// Completes with the body of the response.
    async fn send(&self, mut request: Outgoing) -> Result<Bytes, RevokerError> {
        if let Some(token) = &self.token {
            let value = bearer(token).ok_or(RevokerError::UnsendableToken)?;
            request.private.insert(AUTHORIZATION, value);
        }
        timeout(TIMEOUT, self.answer(request)).await.unwrap_or_else(|late| Err(unknown(late)))
    }

    async fn answer(&self, request: Outgoing) -> Result<Bytes, RevokerError> {
        let response = request.send(&self.client).await.map_err(|error| self.failure(error))?;
        match response.status() {
            StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT => {
                content(response).await.map_err(RevokerError::Unknown)
            }
            status => {
                let status = status.as_u16();
                Err(RevokerError::Refused { status, words: words(response).await })
            }
        }
    }

    fn url(&self) -> Result<Url, RevokerError> {
        let bad = |reason| RevokerError::BadUrl { url: self.url.clone(), reason };
        parse(&self.url).map_err(bad)
    }

    fn failure(&self, error: SendError) -> RevokerError {
        match error.was_sent() {
            true => RevokerError::Unknown(error.into()),
            false => RevokerError::Unreachable { url: self.url.clone(), reason: error.into() },
        }
    }
}

impl fmt::Debug for Revoker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revoker").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The content of a response.
fn parsed<T: DeserializeOwned>(body: &[u8]) -> Result<T, RevokerError> {
    serde_json::from_slice(body).map_err(unknown)
}

fn unknown(error: impl std::error::Error + Send + Sync + 'static) -> RevokerError {
    RevokerError::Unknown(Cause::of(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_not_shown() {
        let shown = format!("{:?}", Revoker::new("http://hub").with_bearer("a.b.c"));
        assert!(shown.contains("http://hub") && !shown.contains("a.b.c"), "{shown}");
    }
}
