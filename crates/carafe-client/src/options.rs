//! The options of an event source.

use std::error::Error;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::backoff::FOREVER;
use crate::connections::Connections;
use crate::control::Control;
use crate::state::State;
use crate::store::Store;
use crate::token::{TokenFuture, TokenRequest, fetch, fixed};

/// How an [`EventSource`](crate::EventSource) connects. [`connect`](Self::connect) makes one.
///
/// ```
/// use std::time::Duration;
///
/// use carafe_client::{EventSource, FileStore};
///
/// let source = EventSource::options("https://hub.example/events/orders?heartbeat=5s")
///     .bearer("the token")
///     .header("x-tenant", "7")
///     .silence(Duration::from_secs(15))
///     .store(FileStore::new("orders.position"))
///     .connect();
/// # drop(source);
/// ```
#[must_use]
pub struct EventSourceOptions {
    pub(crate) url: String,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) unsendable_header: Option<String>,
    pub(crate) body: Option<Bytes>,
    pub(crate) connections: Option<Connections>,
    pub(crate) last_event_id: String,
    pub(crate) store: Option<Box<dyn Store>>,
    pub(crate) save_interval: Duration,
    pub(crate) retry: Duration,
    pub(crate) retry_range: RangeInclusive<Duration>,
    pub(crate) silence: Duration,
    pub(crate) event_bytes: usize,
    pub(crate) first_must_succeed: bool,
    pub(crate) on_state: Option<OnState>,
    pub(crate) on_control: Option<OnControl>,
    pub(crate) bearer: Option<Bearer>,
}

/// The token of a source.
pub(crate) enum Bearer {
    Fixed(String),
    From(Box<dyn FnMut(TokenRequest) -> TokenFuture + Send>),
}

pub(crate) type OnState = Box<dyn FnMut(&State) + Send>;

pub(crate) type OnControl = Box<dyn FnMut(&Control) + Send>;

impl Bearer {
    pub(crate) fn fetch(&mut self, request: TokenRequest) -> TokenFuture {
        match self {
            Self::Fixed(token) => fixed(token),
            Self::From(token) => token(request),
        }
    }
}

impl EventSourceOptions {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            method: Method::GET,
            headers: HeaderMap::new(),
            unsendable_header: None,
            body: None,
            connections: None,
            last_event_id: String::new(),
            store: None,
            save_interval: Duration::from_secs(1),
            retry: Duration::from_secs(2),
            retry_range: Duration::from_millis(100)..=Duration::from_secs(300),
            silence: Duration::from_secs(45),
            event_bytes: 64 << 20,
            first_must_succeed: false,
            on_state: None,
            on_control: None,
            bearer: None,
        }
    }

    /// Sends requests with this method instead of `GET`.
    ///
    /// As in browsers, `POST` becomes `GET` after a redirect with 301, 302 or 303, and stays after
    /// 307 and 308.
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Sends this header with each request, in the place of one of the same name. If it cannot be
    /// sent, the source ends with [`Error::UnsendableHeader`](crate::Error::UnsendableHeader).
    ///
    /// After a redirect to another origin, it is not sent: it may be a secret. The same holds for
    /// the token.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        let (name, value) = (name.as_ref(), value.as_ref());
        let header = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
        match header {
            Some((name, value)) => drop(self.headers.insert(name, value)),
            None => self.unsendable_header = Some(name.into()),
        }
        self
    }

    /// Sends this body with each request, such as the question to a language model. Set the header
    /// `content-type`, too.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Uses these connections, together with others that do.
    pub fn connections(mut self, connections: &Connections) -> Self {
        self.connections = Some(connections.clone());
        self
    }

    /// Resumes after the event with this ID, such as the last one of an earlier run of the program.
    /// A position in the [`store`](Self::store) precedes it.
    pub fn last_event_id(mut self, id: impl Into<String>) -> Self {
        self.last_event_id = id.into();
        self
    }

    /// Keeps the position in this store: the next run of the program resumes there.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Box::new(store));
        self
    }

    /// Sets the least time between two saves of the position while events arrive without a pause. 1
    /// s by default. When no event waits, it is saved at once.
    ///
    /// With [`Duration::ZERO`], each position is saved before the next event is returned: after a
    /// crash, at most one event arrives again.
    pub fn save_interval(mut self, interval: Duration) -> Self {
        self.save_interval = interval;
        self
    }

    /// Sets the time to wait before a reconnection, until the stream sends a retry time. 2 s by
    /// default.
    ///
    /// It is a lower bound, as the stream's is. A random time is added, of which the maximum
    /// doubles with each failure in a row, up to 30 s. An event, or a connection that lasts longer
    /// than that, ends the row.
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

    /// Sets the time without a byte after which the connection counts as dead. 45 s by default,
    /// which is three heartbeats of a hub; [`Duration::MAX`] for never. Time in which the program
    /// handles an event does not count.
    pub fn silence(mut self, time: Duration) -> Self {
        self.silence = time.min(FOREVER);
        self
    }

    /// Sets the maximum size of one event in bytes. 64 MiB by default. A larger event ends the
    /// source with [`Error::TooLarge`](crate::Error::TooLarge).
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
    pub fn bearer(mut self, token: impl Into<String>) -> Self {
        self.bearer = Some(Bearer::Fixed(token.into()));
        self
    }

    /// Fetches a token before each connection. Use it for tokens that expire: a hub ends the stream
    /// when the token of the stream expires. After a 401, a token is fetched once more, with
    /// [`TokenRequest::refused`]. An error counts as a lost connection: the source fetches a token
    /// again after a wait.
    ///
    /// ```
    /// use carafe_client::EventSource;
    ///
    /// let source = EventSource::options("https://hub.example/events/orders")
    ///     .bearer_from(async |_| tokio::fs::read_to_string("orders.token").await)
    ///     .connect();
    /// # drop(source);
    /// ```
    pub fn bearer_from<F, T, E>(mut self, mut token: F) -> Self
    where
        F: FnMut(TokenRequest) -> T + Send + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: Error + Send + Sync + 'static,
    {
        self.bearer = Some(Bearer::From(Box::new(move |request| fetch(token(request)))));
        self
    }

    /// Calls `on_state` at each change of the state, on the task that polls the source. See also
    /// [`EventSource::states`](crate::EventSource::states).
    pub fn on_state(mut self, on_state: impl FnMut(&State) + Send + 'static) -> Self {
        self.on_state = Some(Box::new(on_state));
        self
    }

    /// Calls `on_control` with each report of the hub, at its place between the events. See also
    /// [`EventSource::next_item`](crate::EventSource::next_item).
    pub fn on_control(mut self, on_control: impl FnMut(&Control) + Send + 'static) -> Self {
        self.on_control = Some(Box::new(on_control));
        self
    }
}
