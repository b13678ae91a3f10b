//! Sending events to a hub.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::backoff::Backoff;
use crate::http::{bearer, cause, client, parse, words};

/// How often a request is made whose repetition can do no harm.
const ATTEMPTS: u32 = 3;

/// The wait between them, doubled each time.
const PAUSE: Duration = Duration::from_millis(500);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(60);

/// Publishes to a hub.
#[derive(Clone, Debug)]
pub struct Publisher {
    url: String,
    client: Client,
    bearer: Option<Result<HeaderValue, PublishError>>,
}

/// An event to publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[must_use]
pub struct Publish {
    topic: String,
    data: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    private: bool,
}

/// Why an event was not published, or not for certain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The URL is none that can be asked.
    #[error("cannot ask {url}: {reason}; give the URL of a hub such as http://127.0.0.1:3000")]
    BadUrl {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The hub cannot be reached: nothing was stored.
    #[error("cannot connect to {url}: {reason}")]
    Unreachable {
        /// The URL.
        url: String,
        /// Why.
        reason: String,
    },
    /// The token cannot stand in a header: nothing was sent.
    #[error("the token has control characters: give it as it was made, on one line")]
    UnsendableToken,
    /// The hub refused: nothing was stored.
    #[error("the hub refused ({status}): {words}")]
    Refused {
        /// The status of its answer.
        status: u16,
        /// What it says.
        words: String,
    },
    /// The connection broke off before the answer came.
    #[error(
        "the hub may have stored it or not, since the connection broke off before it answered: {0}; with an \
         idempotency key it is safe to publish again"
    )]
    Unknown(String),
}

#[derive(Deserialize)]
struct Published {
    ids: Vec<String>,
}

impl Publish {
    /// An event with this data for one topic.
    pub fn to(topic: impl Into<String>, data: impl Into<String>) -> Self {
        Self { topic: topic.into(), data: data.into(), event: None, id: None, private: false }
    }

    /// Sets the event's type.
    pub fn with_type(mut self, event_type: impl Into<String>) -> Self {
        self.event = Some(event_type.into());
        self
    }

    /// Sets the idempotency key: publishing again with it stores nothing.
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.id = Some(key.into());
        self
    }

    /// Shows the event only to who may see private ones.
    pub fn with_private(mut self, private: bool) -> Self {
        self.private = private;
        self
    }
}

impl Publisher {
    /// A publisher to the hub at this URL, below which it has `/events`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        let url: String = url.into();
        Self {
            url: format!("{}/events", url.trim_end_matches('/')),
            client: client(),
            bearer: None,
        }
    }

    /// Sends this token with each request, as `Authorization: Bearer`.
    #[must_use]
    pub fn with_bearer(mut self, token: &str) -> Self {
        self.bearer = Some(bearer(token).ok_or(PublishError::UnsendableToken));
        self
    }

    /// Publishes one event, and gives its position in the log.
    ///
    /// # Errors
    /// As [`publish_all`](Self::publish_all).
    pub async fn publish(&self, event: &Publish) -> Result<String, PublishError> {
        let mut ids = self.publish_all(std::slice::from_ref(event)).await?;
        ids.pop().ok_or_else(|| PublishError::Unknown("the answer has no ID".into()))
    }

    /// Publishes a batch in order, whole or not at all, and gives the positions. Where the outcome
    /// is unknown, it is sent again only if every event has an idempotency key.
    ///
    /// # Errors
    /// When the hub cannot be reached, refuses, or the outcome is unknown.
    pub async fn publish_all(&self, events: &[Publish]) -> Result<Vec<String>, PublishError> {
        let repeatable = events.iter().all(|event| event.id.is_some());
        let mut backoff = Backoff::new(PAUSE);
        let mut attempt = 1;
        loop {
            match self.attempt(events).await {
                Err(PublishError::Unknown(_)) if repeatable && attempt < ATTEMPTS => {}
                Err(PublishError::Refused { status, .. })
                    if asks_again(status) && attempt < ATTEMPTS => {}
                outcome => return outcome,
            }
            attempt += 1;
            sleep(backoff.next()).await;
        }
    }

    async fn attempt(&self, events: &[Publish]) -> Result<Vec<String>, PublishError> {
        let url = parse(&self.url)
            .map_err(|reason| PublishError::BadUrl { url: self.url.clone(), reason })?;
        let mut request =
            self.client.post(url).timeout(ANSWER).header(CONTENT_TYPE, "application/x-ndjson");
        if let Some(bearer) = &self.bearer {
            request = request.header(AUTHORIZATION, bearer.clone()?);
        }
        let response =
            request.body(ndjson(events)).send().await.map_err(|error| self.failure(&error))?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let published: Published =
            serde_json::from_slice(&response.bytes().await.map_err(|error| self.failure(&error))?)
                .map_err(|error| PublishError::Unknown(error.to_string()))?;
        Ok(published.ids)
    }

    fn failure(&self, error: &reqwest::Error) -> PublishError {
        let reason = cause(error);
        if error.is_connect() {
            PublishError::Unreachable { url: self.url.clone(), reason }
        } else {
            PublishError::Unknown(reason)
        }
    }
}

/// A hub that refuses for now has stored nothing. What a proxy says with other codes may hide an
/// answer.
fn asks_again(status: u16) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS
}

async fn refusal(response: Response) -> PublishError {
    let status = response.status();
    let words = words(response).await;
    if status.is_server_error() && !asks_again(status.as_u16()) {
        return PublishError::Unknown(words);
    }
    PublishError::Refused { status: status.as_u16(), words }
}

fn ndjson(events: &[Publish]) -> Vec<u8> {
    let mut lines = Vec::new();
    for event in events {
        serde_json::to_writer(&mut lines, event).expect("an object of texts is always JSON");
        lines.push(b'\n');
    }
    lines
}
