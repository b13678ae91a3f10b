//! Publishing events to a hub. A request runs on the task that awaits it.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::backoff::Backoff;
use crate::error::TransportError;
use crate::http::{bearer, client, parse, words};

/// The maximum number of attempts for a request that is safe to repeat.
const ATTEMPTS: u32 = 3;

/// The wait before the second attempt. It doubles with each further one.
const PAUSE: Duration = Duration::from_millis(500);

/// The time limit for a response.
const ANSWER: Duration = Duration::from_secs(60);

/// Publishes events to a hub.
///
/// ```no_run
/// use carafe_client::{Publish, Publisher};
///
/// # async fn example() -> Result<(), carafe_client::PublishError> {
/// let hub = Publisher::new("http://127.0.0.1:3000").with_bearer("the token");
/// let position = hub.publish(&Publish::to("orders", "one flat white")).await?;
/// println!("stored at {position}");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Publisher {
    url: String,
    client: Client,
    bearer: Option<Result<HeaderValue, PublishError>>,
}

/// An event to publish.
///
/// ```
/// use carafe_client::Publish;
///
/// let event = Publish::to("orders/7", "one flat white")
///     .with_type("ordered")
///     .with_key("order-7");
/// # drop(event);
/// ```
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

/// An error of publishing. Its variants say whether events were stored.
///
/// ```no_run
/// use carafe_client::{Publish, PublishError, Publisher};
///
/// # async fn example() {
/// let hub = Publisher::new("http://127.0.0.1:3000");
/// match hub.publish(&Publish::to("orders", "espresso").with_key("order-7")).await {
///     Err(PublishError::Unknown(reason)) => println!("perhaps stored: {reason}"),
///     Err(error) => println!("not stored: {error}"),
///     Ok(position) => println!("stored at {position}"),
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The URL is invalid or is neither `http` nor `https`. Nothing was sent.
    #[error("cannot request {url}: {reason}; use the URL of a hub, such as http://127.0.0.1:3000")]
    BadUrl {
        /// The URL.
        url: String,
        /// What is wrong with it.
        #[source]
        reason: TransportError,
    },
    /// The hub cannot be reached. Nothing was stored.
    #[error("cannot connect to {url}: {reason}")]
    Unreachable {
        /// The URL.
        url: String,
        /// The failure.
        #[source]
        reason: TransportError,
    },
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
    /// The connection broke before the response arrived. The hub may have stored the events.
    #[error(
        "the connection broke before the hub responded, so it may have stored the events or not: \
         {0}; with an idempotency key it is safe to publish again"
    )]
    Unknown(#[source] TransportError),
}

#[derive(Deserialize)]
struct Published {
    ids: Vec<String>,
}

impl Publish {
    /// An event with this data for one topic, public and without a type or a key.
    pub fn to(topic: impl Into<String>, data: impl Into<String>) -> Self {
        Self { topic: topic.into(), data: data.into(), event: None, id: None, private: false }
    }

    /// Sets the event's type.
    pub fn with_type(mut self, event_type: impl Into<String>) -> Self {
        self.event = Some(event_type.into());
        self
    }

    /// Sets the idempotency key. Publishing again with the same key and topic stores nothing.
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.id = Some(key.into());
        self
    }

    /// Sets whether the event is private: only subscribers with access to private events of its
    /// topics receive it.
    pub fn with_private(mut self, private: bool) -> Self {
        self.private = private;
        self
    }
}

impl Publisher {
    /// A publisher to the hub at this URL. It posts to the path `/events` below it.
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

    /// Publishes one event. Returns its position in the log.
    ///
    /// # Errors
    /// As [`publish_all`](Self::publish_all).
    pub async fn publish(&self, event: &Publish) -> Result<String, PublishError> {
        let mut ids = self.publish_all(std::slice::from_ref(event)).await?;
        ids.pop()
            .ok_or_else(|| PublishError::Unknown(String::from("the response has no ID").into()))
    }

    /// Publishes a batch in order. The hub stores all events or none. Returns their positions.
    ///
    /// If the outcome is unknown, the batch is sent again only if each event has an idempotency
    /// key.
    ///
    /// # Errors
    /// When the hub cannot be reached or rejects the request, or the outcome is unknown.
    pub async fn publish_all(&self, events: &[Publish]) -> Result<Vec<String>, PublishError> {
        // Without a key, a second attempt could store an event twice.
        let repeatable = events.iter().all(|event| event.id.is_some());
        let mut backoff = Backoff::new(PAUSE);
        let mut attempt = 1;
        loop {
            match self.attempt(events).await {
                Err(PublishError::Unknown(_)) if repeatable && attempt < ATTEMPTS => {}
                Err(PublishError::Refused { status, .. })
                    if rejects_for_now(status) && attempt < ATTEMPTS => {}
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
        // A token that cannot be sent is an error of the request, because `with_bearer` does not
        // fail.
        if let Some(bearer) = &self.bearer {
            request = request.header(AUTHORIZATION, bearer.clone()?);
        }
        let response =
            request.body(ndjson(events)).send().await.map_err(|error| self.failure(error))?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let published: Published =
            serde_json::from_slice(&response.bytes().await.map_err(|error| self.failure(error))?)
                .map_err(|error| PublishError::Unknown(TransportError::of(error)))?;
        Ok(published.ids)
    }

    fn failure(&self, error: reqwest::Error) -> PublishError {
        // Before the connection is made, nothing was sent: the only failure after which surely
        // nothing is stored.
        let is_connect = error.is_connect();
        let reason = TransportError::of(error);
        if is_connect {
            PublishError::Unreachable { url: self.url.clone(), reason }
        } else {
            PublishError::Unknown(reason)
        }
    }
}

/// Whether the hub itself rejects the request for now: then it has stored nothing. With another
/// code, a proxy may have replaced a response of a hub that has stored the events.
fn rejects_for_now(status: u16) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS
}

async fn refusal(response: Response) -> PublishError {
    let status = response.status();
    let words = words(response).await;
    if status.is_server_error() && !rejects_for_now(status.as_u16()) {
        return PublishError::Unknown(words.into());
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
