//! The options of an event source.

use std::convert::Infallible;
use std::error::Error;
use std::future::ready;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::error::Lost;
use crate::token::{TokenFuture, fetch};

/// How an [`EventSource`](crate::EventSource) connects. [`connect`](Self::connect) makes one.
///
/// ```
/// use std::time::Duration;
///
/// use carafe_client::EventSource;
///
/// let source = EventSource::options("https://hub.example/events/orders")
///     .bearer("the token")
///     .idle(Duration::from_secs(30))
///     .connect();
/// # drop(source);
/// ```
#[must_use]
pub struct EventSourceOptions {
    pub(crate) url: String,
    pub(crate) last_event_id: String,
    pub(crate) retry: Duration,
    pub(crate) retry_range: RangeInclusive<Duration>,
    pub(crate) idle: Duration,
    pub(crate) event_bytes: usize,
    pub(crate) first_must_succeed: bool,
    pub(crate) on_lost: Option<OnLost>,
    pub(crate) bearer: Option<Bearer>,
    pub(crate) control_events: bool,
}

pub(crate) type Bearer = Box<dyn FnMut() -> TokenFuture + Send>;

pub(crate) type OnLost = Box<dyn FnMut(&Lost) + Send>;

impl EventSourceOptions {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            last_event_id: String::new(),
            retry: Duration::from_secs(2),
            retry_range: Duration::from_millis(100)..=Duration::from_secs(300),
            idle: Duration::from_secs(60),
            event_bytes: 64 << 20,
            first_must_succeed: false,
            on_lost: None,
            bearer: None,
            control_events: false,
        }
    }

    /// Resumes after the event with this ID, such as the last one of an earlier run of the program.
    pub fn last_event_id(mut self, id: impl Into<String>) -> Self {
        self.last_event_id = id.into();
        self
    }

    /// Sets the time to wait before a reconnection, until the stream sends a retry time. 2 s by
    /// default. Each failure in a row doubles it.
    pub fn retry(mut self, time: Duration) -> Self {
        self.retry = time;
        self
    }

    /// Sets the range of retry times that the stream may send: others are replaced by the nearest
    /// within. 100 ms to 5 minutes by default. So a server can neither make the program reconnect
    /// all the time, nor stop it for ever.
    pub fn retry_range(mut self, range: RangeInclusive<Duration>) -> Self {
        self.retry_range = range;
        self
    }

    /// Sets the time without a byte after which the connection counts as dead. 60 s by default,
    /// which is four heartbeats of a hub.
    pub fn idle(mut self, time: Duration) -> Self {
        self.idle = time;
        self
    }

    /// Sets the maximum size of one event in bytes. 64 MiB by default.
    pub fn event_bytes(mut self, limit: usize) -> Self {
        self.event_bytes = limit;
        self
    }

    /// Ends the source with [`Error::Unreachable`](crate::Error::Unreachable) if the first
    /// connection fails, instead of trying again.
    pub fn first_must_succeed(mut self) -> Self {
        self.first_must_succeed = true;
        self
    }

    /// Sends this token with each request, as `Authorization: Bearer`.
    pub fn bearer(self, token: impl Into<String>) -> Self {
        let token = token.into();
        self.bearer_from(move || ready(Ok::<_, Infallible>(token.clone())))
    }

    /// Fetches a token before each connection. Use it for tokens that expire: a hub ends the stream
    /// when the token of the stream expires. An error counts as a lost connection: the source
    /// fetches a token again after a wait.
    ///
    /// ```
    /// use carafe_client::EventSource;
    ///
    /// let source = EventSource::options("https://hub.example/events/orders")
    ///     .bearer_from(async || tokio::fs::read_to_string("orders.token").await)
    ///     .connect();
    /// # drop(source);
    /// ```
    pub fn bearer_from<F, T, E>(mut self, mut token: F) -> Self
    where
        F: FnMut() -> T + Send + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: Error + Send + Sync + 'static,
    {
        self.bearer = Some(Box::new(move || fetch(token())));
        self
    }

    /// Returns the hub's own events, too, whose types begin with `carafe.`: positions, gaps,
    /// heartbeats. They are hidden by default, and count for
    /// [`EventSource::last_event_id`](crate::EventSource::last_event_id) all the same.
    pub fn with_control_events(mut self) -> Self {
        self.control_events = true;
        self
    }

    /// Calls `on_lost` each time a connection is lost or rejected for now, before the wait.
    pub fn on_lost(mut self, on_lost: impl FnMut(&Lost) + Send + 'static) -> Self {
        self.on_lost = Some(Box::new(on_lost));
        self
    }
}
