//! The publisher: where it publishes, and how. A request runs on the task that awaits it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Url};

use crate::connections::Connections;
use crate::http::parse;
use crate::publisher_error::PublisherError;
use crate::token::{TokenFuture, TokenRequest, fetch, fixed};
use crate::topic;

/// The default time limits for one event, and for a batch.
const EVENT_TIMEOUT: Duration = Duration::from_secs(10);
const BATCH_TIMEOUT: Duration = Duration::from_secs(60);

/// Publishes events to a hub.
///
/// A publisher survives a restart of its hub. When the hub cannot be reached, rejects a request for
/// now (429, 5xx) or does not respond, it sends the request again, after a growing pause or after
/// the time in `Retry-After`, until its [timeout](Self::with_timeout). An event without an
/// idempotency key gets a random one, so the hub stores it once, whatever happens.
///
/// Events stay in order if the next one is published when the one before is acknowledged.
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
    /// Of `/events`.
    url: String,
    client: Client,
    bearer: Option<Bearer>,
    timeout: Option<Duration>,
    retries: bool,
    on_retry: Option<OnRetry>,
}

/// The token of a publisher.
#[derive(Clone)]
struct Bearer {
    is_fixed: bool,
    fetch: Arc<dyn Fn(TokenRequest) -> TokenFuture + Send + Sync>,
}

type OnRetry = Arc<dyn Fn(&PublisherError) + Send + Sync>;

impl Publisher {
    /// A publisher to the hub at this URL. It posts to the path `/events` below it.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        let url: String = url.into();
        Self {
            url: format!("{}/events", url.trim_end_matches('/')),
            client: Connections::new().client,
            bearer: None,
            timeout: None,
            retries: true,
            on_retry: None,
        }
    }

    /// Uses these connections, together with others that do.
    #[must_use]
    pub fn with_connections(mut self, connections: &Connections) -> Self {
        self.client = connections.client.clone();
        self
    }

    /// Sends this token with each request, as `Authorization: Bearer`.
    #[must_use]
    pub fn with_bearer(self, token: impl Into<String>) -> Self {
        let token = token.into();
        self.set_bearer(true, move |_| fixed(&token))
    }

    /// Fetches a token before each request, and once more after a 401, with
    /// [`TokenRequest::refused`]. An error counts as a hub that cannot be reached: the request is
    /// repeated until the [timeout](Self::with_timeout).
    #[must_use]
    pub fn with_bearer_from<F, T, E>(self, token: F) -> Self
    where
        F: Fn(TokenRequest) -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: Error + Send + Sync + 'static,
    {
        self.set_bearer(false, move |request| fetch(token(request)))
    }

    fn set_bearer(
        mut self,
        is_fixed: bool,
        fetch: impl Fn(TokenRequest) -> TokenFuture + Send + Sync + 'static,
    ) -> Self {
        self.bearer = Some(Bearer { is_fixed, fetch: Arc::new(fetch) });
        self
    }

    /// Sets the time limit for publishing an event or a batch, with all attempts and pauses. 10 s
    /// for an event and 60 s for a batch by default; [`Duration::MAX`] sets no limit.
    ///
    /// A [feed](Self::feed) fails when it has made no progress for this time, 60 s by default.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Makes one attempt only, and adds no idempotency keys to events and batches.
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

    pub(crate) fn event_timeout(&self) -> Duration {
        self.timeout.unwrap_or(EVENT_TIMEOUT)
    }

    pub(crate) fn batch_timeout(&self) -> Duration {
        self.timeout.unwrap_or(BATCH_TIMEOUT)
    }

    /// The URL of `/events`.
    pub(crate) fn parsed_url(&self) -> Result<Url, PublisherError> {
        self.parsed("")
    }

    pub(crate) fn topic_url(&self, topic: &str) -> Result<Url, PublisherError> {
        self.parsed(&topic::path(topic))
    }

    fn parsed(&self, path: &str) -> Result<Url, PublisherError> {
        parse(&format!("{}{path}", self.url))
            .map_err(|reason| PublisherError::BadUrl { url: self.url.clone(), reason })
    }

    pub(crate) fn events_url(&self) -> &str {
        &self.url
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn retries(&self) -> bool {
        self.retries
    }

    pub(crate) fn token(&self, request: TokenRequest) -> Option<TokenFuture> {
        self.bearer.as_ref().map(|bearer| (bearer.fetch)(request))
    }

    /// Whether another token may help after this one was refused.
    pub(crate) fn may_fetch_again(&self, request: TokenRequest) -> bool {
        !request.refused && self.bearer.as_ref().is_some_and(|bearer| !bearer.is_fixed)
    }

    pub(crate) fn tell_retry(&self, reason: &PublisherError) {
        self.on_retry.iter().for_each(|on_retry| on_retry(reason));
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
