//! How an event source connects, and when it gives up.

use std::time::Duration;

use crate::{EventSource, Lost};

/// How an [`EventSource`] connects. [`connect`](Self::connect) makes one.
#[must_use]
pub struct EventSourceOptions {
    pub(crate) url: String,
    pub(crate) last_event_id: String,
    pub(crate) retry: Duration,
    pub(crate) idle: Duration,
    pub(crate) event_bytes: usize,
    pub(crate) first_must_succeed: bool,
    pub(crate) on_lost: Option<OnLost>,
    pub(crate) bearer: Option<Bearer>,
}

pub(crate) type Bearer = Box<dyn FnMut() -> Option<String> + Send>;

pub(crate) type OnLost = Box<dyn FnMut(&Lost) + Send>;

impl EventSourceOptions {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            last_event_id: String::new(),
            retry: Duration::from_secs(2),
            idle: Duration::from_secs(60),
            event_bytes: 64 << 20,
            first_must_succeed: false,
            on_lost: None,
            bearer: None,
        }
    }

    /// Goes on after the event with this ID, such as the one that an earlier life of the program
    /// ended with.
    pub fn last_event_id(mut self, id: impl Into<String>) -> Self {
        self.last_event_id = id.into();
        self
    }

    /// Sets how long to wait before reconnecting until the stream says so itself; 2 s. Failures in
    /// a row double it.
    pub fn retry(mut self, time: Duration) -> Self {
        self.retry = time;
        self
    }

    /// Sets after how long without a byte the connection is given up as dead; 60 s, which is four
    /// heartbeats of a hub.
    pub fn idle(mut self, time: Duration) -> Self {
        self.idle = time;
        self
    }

    /// Sets the most bytes that one event may have; 64 MiB.
    pub fn event_bytes(mut self, limit: usize) -> Self {
        self.event_bytes = limit;
        self
    }

    /// Ends with [`Error::Unreachable`](crate::Error::Unreachable) if the first connection fails,
    /// instead of trying on.
    pub fn first_must_succeed(mut self) -> Self {
        self.first_must_succeed = true;
        self
    }

    /// Sends this token with each connection, as `Authorization: Bearer`.
    pub fn bearer(self, token: impl Into<String>) -> Self {
        let token = token.into();
        self.bearer_with(move || Some(token.clone()))
    }

    /// Asks for the token to send before each connection: when a stream ends because its token has
    /// expired, the next one needs another.
    pub fn bearer_with(mut self, token: impl FnMut() -> Option<String> + Send + 'static) -> Self {
        self.bearer = Some(Box::new(token));
        self
    }

    /// Calls `told` each time that a connection is lost or refused for now, before it waits.
    pub fn on_lost(mut self, told: impl FnMut(&Lost) + Send + 'static) -> Self {
        self.on_lost = Some(Box::new(told));
        self
    }

    /// The event source. It connects when it is first polled.
    pub fn connect(self) -> EventSource {
        EventSource::with_options(self)
    }
}
