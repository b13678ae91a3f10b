//! Publishing events to a hub. A request runs on the task that awaits it.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout};

use crate::backoff::Backoff;
use crate::error::TransportError;
use crate::http::{client, is_temporary, is_untrusted, parse, retry_after, words};
use crate::publish::{Publish, batch, repeatable_batch};
use crate::publisher_error::PublisherError;
use crate::token::{NoToken, TokenFuture, fetch};

/// The default time limits for one event, and for a batch.
const EVENT_TIMEOUT: Duration = Duration::from_secs(10);
const BATCH_TIMEOUT: Duration = Duration::from_secs(60);

/// The time limit for one attempt. It ends earlier when publishing as a whole times out, but not
/// before `LAST_ATTEMPT`: an attempt that is cut off leaves its outcome unknown.
const ATTEMPT: Duration = Duration::from_secs(60);
const LAST_ATTEMPT: Duration = Duration::from_secs(1);

/// The wait before the second attempt. It doubles with each further one, up to a limit that is
/// short enough to notice soon that a hub is back.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Publishes events to a hub.
///
/// A publisher survives a restart of its hub. When the hub cannot be reached, rejects a request for
/// now (429, 5xx) or does not respond, it sends the request again, after a growing pause or after
/// the time in `Retry-After`, until its [timeout](Self::with_timeout). An event without an
/// idempotency key gets a random one, so the hub stores it once, whatever happens.
///
/// ```no_run
/// use carafe_client::{Publish, Publisher};
///
/// # async fn example() -> Result<(), carafe_client::PublisherError> {
/// let hub = Publisher::new("http://127.0.0.1:3000").with_bearer("the token");
/// let position = hub.publish(&Publish::to("orders", "one flat white")).await?;
/// println!("stored at {position}");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Publisher {
    url: String,
    client: Client,
    bearer: Option<Bearer>,
    timeout: Option<Duration>,
    retries: bool,
    on_retry: Option<OnRetry>,
}

type Bearer = Arc<dyn Fn() -> TokenFuture + Send + Sync>;

type OnRetry = Arc<dyn Fn(&PublisherError) + Send + Sync>;

impl Publisher {
    /// A publisher to the hub at this URL. It posts to the path `/events` below it.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        let url: String = url.into();
        Self {
            url: format!("{}/events", url.trim_end_matches('/')),
            client: client(),
            bearer: None,
            timeout: None,
            retries: true,
            on_retry: None,
        }
    }

    /// Sends this token with each request, as `Authorization: Bearer`.
    #[must_use]
    pub fn with_bearer(self, token: impl Into<String>) -> Self {
        let token = token.into();
        self.with_bearer_from(move || ready(Ok::<_, Infallible>(token.clone())))
    }

    /// Fetches a token before each request. An error counts as a hub that cannot be reached: the
    /// request is repeated until the [timeout](Self::with_timeout).
    #[must_use]
    pub fn with_bearer_from<F, T, E>(mut self, token: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: Error + Send + Sync + 'static,
    {
        self.bearer = Some(Arc::new(move || fetch(token())));
        self
    }

    /// Sets the time limit for publishing an event or a batch, with all attempts and pauses. 10 s
    /// for an event and 60 s for a batch by default; [`Duration::MAX`] sets no limit.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Makes one attempt only, and adds no idempotency keys.
    #[must_use]
    pub fn without_retry(mut self) -> Self {
        self.retries = false;
        self
    }

    /// Calls `on_retry` with the reason before each pause and further attempt.
    #[must_use]
    pub fn on_retry(mut self, on_retry: impl Fn(&PublisherError) + Send + Sync + 'static) -> Self {
        self.on_retry = Some(Arc::new(on_retry));
        self
    }

    /// Publishes one event. Returns its position in the log.
    ///
    /// # Errors
    /// As [`publish_all`](Self::publish_all).
    pub async fn publish(&self, event: &Publish) -> Result<String, PublisherError> {
        let timeout = self.timeout.unwrap_or(EVENT_TIMEOUT);
        let mut ids = self.publish_within(std::slice::from_ref(event), timeout).await?;
        ids.pop()
            .ok_or_else(|| PublisherError::Unknown(String::from("the response has no ID").into()))
    }

    /// Publishes a batch in order. The hub stores all events or none. Returns their positions.
    ///
    /// # Errors
    /// When the hub rejects the request for good, or when the time is over.
    pub async fn publish_all(&self, events: &[Publish]) -> Result<Vec<String>, PublisherError> {
        self.publish_within(events, self.timeout.unwrap_or(BATCH_TIMEOUT)).await
    }

    async fn publish_within(
        &self,
        events: &[Publish],
        timeout: Duration,
    ) -> Result<Vec<String>, PublisherError> {
        // Encoded once: all attempts send the same keys.
        let body = if self.retries { repeatable_batch(events) } else { batch(events) };
        let deadline = Deadline(Instant::now().checked_add(timeout));
        let mut backoff = Backoff::new(PAUSE).with_longest(LONGEST_PAUSE);
        let mut unknown = false;
        loop {
            let failed = match self.attempt(body.clone(), deadline.of_attempt()).await {
                Ok(ids) => return Ok(ids),
                Err(failed) => failed,
            };
            unknown |= matches!(failed.error, PublisherError::Unknown(_));
            let Some(pause) = self.pause(&failed, deadline, &mut backoff) else {
                return Err(failed.error.after_unknown(unknown));
            };
            self.on_retry.iter().for_each(|on_retry| on_retry(&failed.error));
            sleep(pause).await;
        }
    }

    /// The pause before the next attempt, if there is one.
    fn pause(
        &self,
        failed: &Failed,
        deadline: Deadline,
        backoff: &mut Backoff,
    ) -> Option<Duration> {
        let left = deadline.left();
        let may_retry = self.retries && failed.is_temporary && left > PAUSE;
        (may_retry && failed.retry_after <= left)
            .then(|| backoff.next().max(failed.retry_after).min(left))
    }

    async fn attempt(&self, body: Bytes, time: Duration) -> Result<Vec<String>, Failed> {
        let request = self.request()?.timeout(time).body(body);
        let request = match &self.bearer {
            Some(token) => request.header(AUTHORIZATION, timeout(time, token()).await??),
            None => request,
        };
        let response = request.send().await.map_err(|error| self.failure(error))?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let body = response.bytes().await.map_err(|error| self.failure(error))?;
        let published: Published = serde_json::from_slice(&body)
            .map_err(|error| PublisherError::Unknown(TransportError::of(error)))?;
        Ok(published.ids)
    }

    fn request(&self) -> Result<RequestBuilder, PublisherError> {
        let url = parse(&self.url)
            .map_err(|reason| PublisherError::BadUrl { url: self.url.clone(), reason })?;
        Ok(self.client.post(url).header(CONTENT_TYPE, "application/x-ndjson"))
    }

    fn failure(&self, error: reqwest::Error) -> Failed {
        // Before the connection is made, nothing was sent: the only failure after which surely
        // nothing is stored.
        let is_connect = error.is_connect();
        let is_temporary = !is_untrusted(&error);
        let reason = TransportError::of(error);
        let error = if is_connect {
            PublisherError::Unreachable { url: self.url.clone(), reason }
        } else {
            PublisherError::Unknown(reason)
        };
        Failed { error, is_temporary, retry_after: Duration::ZERO }
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("url", &self.url)
            .field("timeout", &self.timeout)
            .field("retries", &self.retries)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Published {
    ids: Vec<String>,
}

/// When publishing times out; `None` for never.
#[derive(Clone, Copy)]
struct Deadline(Option<Instant>);

impl Deadline {
    fn left(self) -> Duration {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        self.0.map_or(Duration::MAX, left)
    }

    fn of_attempt(self) -> Duration {
        self.left().clamp(LAST_ATTEMPT, ATTEMPT)
    }
}

/// A failed attempt.
struct Failed {
    error: PublisherError,
    /// Whether another attempt may succeed.
    is_temporary: bool,
    retry_after: Duration,
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
        PublisherError::NoToken(TransportError::of(elapsed)).into()
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

async fn refusal(response: Response) -> Failed {
    let status = response.status();
    let retry_after = retry_after(response.headers()).unwrap_or_default();
    let words = words(response).await;
    let error = if status.is_server_error() && !rejects_for_now(status) {
        PublisherError::Unknown(words.into())
    } else {
        PublisherError::Refused { status: status.as_u16(), words }
    };
    Failed { error, is_temporary: is_temporary(status), retry_after }
}
