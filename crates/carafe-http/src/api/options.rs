//! What a router allows, and how it serves streams.

use std::ops::RangeInclusive;
use std::time::Duration;

#[cfg(feature = "mercure")]
use url::Url;

use crate::answer::heartbeat;
#[cfg(feature = "auth")]
use crate::auth::credentials::Credentials;
#[cfg(feature = "auth")]
use crate::auth::keys::Keys;
use crate::observe::metrics::Metrics;
use crate::policy::address::Proxies;
use crate::policy::base_path::BasePath;
use crate::policy::body_budget::BodyBudget;
use crate::policy::origins::Origins;
use crate::policy::publish_rate::PublishRate;
use crate::policy::readiness::Readiness;
use crate::policy::revocations::Revocations;
use crate::policy::rights::Rights;
use crate::policy::subscribers::Subscribers;
#[cfg(feature = "server")]
use crate::server::options::{ServerOptions, SharedSettings};

/// What a router allows, and how it serves streams.
///
/// By default, clients may subscribe to public events, and nobody may publish over HTTP: an app
/// publishes with its [`Hub`](carafe_hub::Hub), or opens publishing behind its own access check.
/// Start with the default and set what shall differ:
///
/// ```
/// use std::time::Duration;
/// use carafe_http::{Options, Rights};
///
/// let mut options = Options::default();
/// options.anonymous = Rights::all();
/// options.heartbeat = Duration::from_secs(20);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// What clients without a token may do.
    pub anonymous: Rights,
    /// The keys that tokens are checked with. Without keys, tokens are ignored.
    #[cfg(feature = "auth")]
    pub keys: Keys,
    /// Where tokens are taken from.
    #[cfg(feature = "auth")]
    pub credentials: Credentials,
    /// The origins whose pages may use the hub, beside its own.
    pub origins: Origins,
    /// The proxies whose headers tell the addresses of clients.
    pub proxies: Proxies,
    /// The limits on open streams and connections.
    pub subscribers: Subscribers,
    /// How fast each publisher may publish.
    pub publish_rate: PublishRate,
    /// The revoked tokens and users.
    pub revocations: Revocations,
    /// Whether the hub serves clients yet, and what `/readyz` says.
    pub readiness: Readiness,
    /// The counters.
    pub metrics: Metrics,
    /// The Mercure protocol on `/.well-known/mercure`, if it is wanted.
    #[cfg(feature = "mercure")]
    pub mercure: Option<Mercure>,
    /// The page at `/`.
    pub page: Page,
    /// The path under which all endpoints are, such as `/sse`. The health checks are at the root,
    /// too.
    pub base_path: BasePath,
    /// Whether only programs and pages of this machine are answered: the `Host` must be a loopback
    /// name, and an `Origin` must be the same.
    pub loopback_only: bool,
    /// After how long without output a stream sends a sign of life.
    pub heartbeat: Duration,
    /// The interval that a client may request instead, by `?heartbeat=4s`. One that is outside is
    /// replaced by the nearest within.
    pub heartbeat_range: RangeInclusive<Duration>,
    /// How long clients wait before they reconnect, give or take a quarter, so that they do not all
    /// reconnect at once.
    pub retry: Duration,
    /// The wait that a publisher may make clients take on before they reconnect, by the field
    /// `retry` of an event. Values outside are replaced by the nearest within: a browser waits as
    /// long as it is told, and one that may not wait would reconnect all the time.
    pub event_retry: RangeInclusive<Duration>,
    /// How long shared caches, such as a CDN, may show full pages of history. Events that are
    /// erased or no longer shown may be seen there for as long. Only pages for clients without
    /// credentials are meant. Zero by default, which allows none: an app may decide who is let
    /// through to the hub, and a cache in front of it would not ask.
    pub shared_page_age: Duration,
    /// The most bytes of data of one event.
    pub event_bytes: usize,
    /// The most bytes of a batch.
    pub batch_bytes: usize,
    /// How long the body of a request may take to arrive.
    pub body_timeout: Duration,
    /// The memory for request bodies while they are read and stored. It has to be at least twice
    /// `event_bytes` and `batch_bytes`, or the largest of them are rejected.
    pub body_budget: BodyBudget,
}

impl Options {
    /// The options of a [server](crate::serve) for this router: it shares the heartbeat, metrics,
    /// proxies and limits. Set the router's options first.
    #[cfg(feature = "server")]
    #[must_use]
    pub fn server(&self) -> ServerOptions {
        let shared = SharedSettings {
            heartbeat: self.heartbeat,
            metrics: self.metrics.clone(),
            proxies: self.proxies.clone(),
            subscribers: self.subscribers.clone(),
            revocations: self.revocations.clone(),
        };
        ServerOptions { shared, ..ServerOptions::default() }
    }

    /// The wait of clients that a publisher asks for, within the range that it may ask for.
    pub(crate) fn limited_retry(&self, time: Duration) -> Duration {
        within(&self.event_retry, time)
    }

    /// The interval of heartbeats that a client requests, within the range that it may request.
    pub(crate) fn limited_heartbeat(&self, interval: Duration) -> Duration {
        within(&self.heartbeat_range, interval)
    }

    /// Whether a token could grant more than requests without one have.
    pub(crate) fn accepts_tokens(&self) -> bool {
        #[cfg(feature = "auth")]
        return !self.keys.is_empty();
        #[cfg(not(feature = "auth"))]
        return false;
    }
}

/// The nearest time within a range.
fn within(range: &RangeInclusive<Duration>, time: Duration) -> Duration {
    // Not `clamp`, which panics if an app has set an empty range.
    time.min(*range.end()).max(*range.start())
}

/// How Mercure is spoken. Rights follow from the keys of a Mercure dialect, and from what clients
/// without a token may do.
///
/// ```
/// use carafe_http::{Mercure, Options};
///
/// let mut mercure = Mercure::default();
/// mercure.public_url = Some("https://hub.example.com".parse()?);
/// let mut options = Options::default();
/// options.mercure = Some(mercure);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "mercure")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mercure {
    /// The URL under which clients reach the hub, such as `https://hub.example.com`, or
    /// `https://example.com/sse` if a proxy removes this path. The URL of the hub's endpoint below
    /// it is the resource identifier in tokens of 1.0; without it, only 0.x is spoken.
    pub public_url: Option<Url>,
    /// Whether open subscriptions are reported, by an API and by private updates.
    pub subscriptions: bool,
    /// The maximum age of a stream; each stream ends within the last fifth of it.
    pub max_age: Option<Duration>,
}

#[cfg(feature = "mercure")]
impl Mercure {
    /// The path of the public URL, without a slash at its end.
    pub(crate) fn prefix(&self) -> &str {
        self.public_url.as_ref().map_or("", |url| url.path().trim_end_matches('/'))
    }
}

/// The page at `/`.
///
/// ```
/// use carafe_http::{Options, Page};
///
/// let mut options = Options::default();
/// options.page = Page::Console;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Page {
    /// None: the app has its own.
    #[default]
    None,
    /// A plain page that says what this is.
    Plain,
    /// The console: publish, watch, and try how streams resume. The hub then keeps what each stream
    /// requests, and `/console/subscribers?topic=…` tells clients that may subscribe to a topic how
    /// many streams request it.
    Console,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            anonymous: Rights::subscribe(),
            #[cfg(feature = "auth")]
            keys: Keys::default(),
            #[cfg(feature = "auth")]
            credentials: Credentials::default(),
            origins: Origins::default(),
            proxies: Proxies::default(),
            subscribers: Subscribers::default(),
            publish_rate: PublishRate::default(),
            revocations: Revocations::default(),
            readiness: Readiness::default(),
            metrics: Metrics::default(),
            #[cfg(feature = "mercure")]
            mercure: None,
            page: Page::None,
            base_path: BasePath::default(),
            loopback_only: false,
            heartbeat: heartbeat::DEFAULT,
            heartbeat_range: Duration::from_secs(1)..=Duration::from_secs(60),
            retry: Duration::from_secs(2),
            event_retry: Duration::from_millis(500)..=Duration::from_secs(300),
            shared_page_age: Duration::ZERO,
            event_bytes: 1 << 20,
            batch_bytes: 16 << 20,
            body_timeout: Duration::from_secs(30),
            body_budget: BodyBudget::default(),
        }
    }
}
