//! What a router allows, and how it serves streams.

use std::time::Duration;

#[cfg(feature = "mercure")]
use url::Url;

use crate::api::heartbeat;
#[cfg(feature = "auth")]
use crate::auth::credentials::Credentials;
#[cfg(feature = "auth")]
use crate::auth::keys::Keys;
use crate::observe::metrics::Metrics;
use crate::policy::address::Proxies;
use crate::policy::body_budget::BodyBudget;
use crate::policy::origins::Origins;
use crate::policy::publish_rate::PublishRate;
use crate::policy::rights::Rights;
use crate::policy::subscribers::Subscribers;

/// What a router allows to whom, and how it serves streams.
///
/// By default everybody may subscribe to public events, and nobody may publish over HTTP: an app
/// that mounts the router publishes by its [`Hub`](carafe_hub::Hub), or opens publishing behind an
/// access check of its own.
#[derive(Clone, Debug)]
pub struct Options {
    /// What strangers may do.
    pub anonymous: Rights,
    /// The keys that tokens are checked with. Without any, everybody is a stranger.
    #[cfg(feature = "auth")]
    pub keys: Keys,
    /// Where tokens are taken from.
    #[cfg(feature = "auth")]
    pub credentials: Credentials,
    /// The origins whose pages may use the hub from elsewhere.
    pub origins: Origins,
    /// The proxies whose word about a client's address is taken.
    pub proxies: Proxies,
    /// How many streams may be open.
    pub subscribers: Subscribers,
    /// How fast each publisher may publish.
    pub publish_rate: PublishRate,
    /// Where it is counted what happens.
    pub metrics: Metrics,
    /// Whether and how Mercure is spoken, on `/.well-known/mercure`.
    #[cfg(feature = "mercure")]
    pub mercure: Option<Mercure>,
    /// What is at `/`.
    pub page: Page,
    /// Whether only requests from this machine's own pages and programs are answered: the `Host`
    /// must be a loopback name, and an `Origin` must be the same.
    pub loopback_only: bool,
    /// After how long without output a stream says that it is alive.
    pub heartbeat: Duration,
    /// How long clients wait before they reconnect, give or take a quarter, so that they do not all
    /// come at once.
    pub retry: Duration,
    /// Bytes of data that one event may have.
    pub event_bytes: usize,
    /// Bytes that a batch may have.
    pub batch_bytes: usize,
    /// How long a request's body may take to arrive.
    pub body_time: Duration,
    /// The memory that bodies may take while they are read and stored. An event of `event_bytes`
    /// and a batch of `batch_bytes` have room in it if it is twice as large as either.
    pub body_budget: BodyBudget,
}

/// How Mercure is spoken. Who may do what follows from the keys of a Mercure dialect, and from what
/// strangers may do.
#[cfg(feature = "mercure")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mercure {
    /// The origin under which clients reach the hub, such as `https://hub.example.com`. The URL of
    /// the hub below it is its resource identifier, to which tokens of 1.0 are made out; without
    /// it, only 0.x is spoken.
    pub public_url: Option<Url>,
    /// Whether open subscriptions of 0.x are told, by an API and by private updates.
    pub subscriptions: bool,
    /// How long a stream stays open at most, give or take a fifth less.
    pub max_age: Option<Duration>,
}

impl Options {
    /// Whether a client may come back with a token.
    pub(crate) fn accepts_tokens(&self) -> bool {
        #[cfg(feature = "auth")]
        return !self.keys.is_empty();
        #[cfg(not(feature = "auth"))]
        return false;
    }
}

/// What a router has at `/`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Page {
    /// Nothing: the app has its own.
    #[default]
    None,
    /// A plain page that says what this is.
    Plain,
    /// The console: publish, watch, and try the resume promise.
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
            metrics: Metrics::default(),
            #[cfg(feature = "mercure")]
            mercure: None,
            page: Page::None,
            loopback_only: false,
            heartbeat: heartbeat::DEFAULT,
            retry: Duration::from_secs(2),
            event_bytes: 1 << 20,
            batch_bytes: 16 << 20,
            body_time: Duration::from_secs(30),
            body_budget: BodyBudget::default(),
        }
    }
}
