//! Event streams from servers to browsers, with Server-Sent Events, for
//! [axum](https://docs.rs/axum).
//!
//! # One stream
//!
//! [`EventStream`] turns any handler into an event stream. The handler runs until its client
//! disconnects:
//!
//! ```
//! use std::time::Duration;
//!
//! use carafe::EventStream;
//!
//! async fn count() -> EventStream {
//!     EventStream::new(async |events| {
//!         events.retry(Duration::from_secs(10)).await?;
//!         for count in 1.. {
//!             tokio::time::sleep(Duration::from_secs(1)).await;
//!             events.data(count).await?;
//!         }
//!         Ok(())
//!     })
//! }
//! # let app: axum::Router = axum::Router::new().route("/count", axum::routing::get(count));
//! ```
#![cfg_attr(
    feature = "hub",
    doc = r#"
# Many streams

A [`Hub`] delivers each event to all subscribers of its [`Topic`], and keeps a history. A client
that reconnects receives exactly the events that it missed:

```no_run
use axum::Router;
use carafe::{Hub, HubExt, MemoryLog, Publication, Topic};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = Hub::new(MemoryLog::default());
    // In the browser: new EventSource("/live/events/orders")
    let app = Router::new().nest("/live", hub.router());
    hub.publish(Publication::new(Topic::new("orders")?, "one flat white")).await?;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await?;
    Ok(())
}
```

[`Hub::subscribe`] returns the same events as a `Stream`, without HTTP. A [`Subscribe`] says which
topics, and where to begin:

```
use carafe::hub::{Delivery, Start};
use carafe::protocol::TopicMatcher;
use carafe::{Hub, MemoryLog, Publication, Subscribe, Topic};
use futures_util::StreamExt;

# #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
let hub = Hub::new(MemoryLog::default());
hub.publish(Publication::new(Topic::new("orders/42")?, "one flat white")).await?;

let orders = TopicMatcher::parse("orders/*")?;
let mut events = hub.subscribe(Subscribe::to(orders).from(Start::Earliest)).await?;
while let Some(delivery) = events.next().await {
    if let Delivery::Entry(entry) = delivery {
        assert_eq!(entry.data(), "one flat white");
        break;
    }
}
# Ok(()) }
```

[`Hub::close`] ends all streams and closes the log, before the app exits.

# Under `axum::serve`

A hub works under any server. These parts need the accept loop of the feature `server`,
`carafe::server::serve`:

| | `axum::serve` | `carafe::server::serve` |
| --- | --- | --- |
| delivery, history, resuming, tokens, metrics | yes | yes |
| limits on streams and publishing per address | with `into_make_service_with_connect_info` | yes |
| limit on connections per address | no | yes |
| who writes a stream over HTTP/1.1 | hyper: a task and its buffers for each stream | shards: one thread writes to many sockets |
| memory of an idle stream | several KiB | about 100 bytes |
| clients that stop reading | stay until TCP gives up | are disconnected after the write timeout |
| time limit for a request's head | no | yes |
| TLS, HTTP/2 limits | no | yes |
| end of all streams at shutdown | with [`StreamDrain`](http::StreamDrain) | yes, at a limited rate |
"#
)]
//! # Features
//!
//! | feature | adds |
//! | --- | --- |
//! | none | [`EventStream`]; five crates more than axum |
//! | `hub` (default) | `Hub`, the log in memory, the router |
//! | `disk` | `log::DiskLog`: history that survives crashes |
//! | `server` | `server::serve`: TLS, shards, write timeouts, limits per address, drain |
//! | `auth` | `auth`: JSON Web Tokens |
//! | `mercure` | the Mercure protocol |
//! | `client` | `client`: an `EventSource` and a publisher for Rust |
//!
//! The program `carafe` is the same hub for applications in any language:
//! `cargo install carafe-cli`.

pub use carafe_http::EventStream;
#[cfg(feature = "hub")]
pub use carafe_http::HubExt;
#[cfg(feature = "hub")]
pub use carafe_hub::{Hub, Subscribe};
#[cfg(feature = "hub")]
pub use carafe_log::{MemoryLog, Publication};
#[cfg(feature = "hub")]
pub use carafe_protocol::Topic;

/// What a handler with an [`EventStream`] needs: its sender, the client's last event ID, errors.
///
/// ```
/// use carafe::EventStream;
/// use carafe::stream::{Event, EventId, LastEventId};
///
/// async fn count(LastEventId(last): LastEventId) -> EventStream {
///     let first = last.and_then(|id| id.parse().ok()).map_or(0, |last: u64| last + 1);
///     EventStream::new(move |events| async move {
///         for count in first..10 {
///             let id = EventId::new(count.to_string())?;
///             events.send(Event::new(format!("number {count}")).with_id(id)).await?;
///         }
///         Ok(())
///     })
/// }
/// # let app: axum::Router = axum::Router::new().route("/count", axum::routing::get(count));
/// ```
pub mod stream {
    pub use carafe_http::{Events, Gone, HandlerError, JsonError, LastEventId};
    pub use carafe_protocol::{BadEventId, BadEventType, Event, EventId, EventType};
}

/// Publishing and subscribing in the process: limits, subscriptions, gaps, access.
///
/// ```
/// use carafe::hub::{HubLimits, Retention};
/// use carafe::log::MemoryLimits;
/// use carafe::protocol::TopicPattern;
/// use carafe::{Hub, MemoryLog};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut limits = HubLimits::default();
/// limits.matchers = 10;
/// let hour = std::time::Duration::from_secs(3600);
/// limits.retention = vec![Retention::new(TopicPattern::new("sessions/*")?, hour)];
/// let mut kept = MemoryLimits::default();
/// kept.entries = 10_000;
/// let hub = Hub::with_limits(MemoryLog::new(kept), limits);
/// # drop(hub);
/// # Ok(()) }
/// ```
#[cfg(feature = "hub")]
pub mod hub {
    pub use carafe_hub::{
        Access, Client, CustomFormat, Delivery, Drain, Encoder, EraseError, EraseOne, Format,
        Frames, Gap, GapReason, Grant, HubCounts, HubLimits, OnGap, Page, PageLimit, PageReader,
        PublishError, Retention, Start, SubscribeError, Subscription, TopicTail, TopicWatch,
    };
}

/// The hub as a router: what clients may do, limits, metrics.
///
/// ```
/// use carafe::http::{Options, Rights, router};
/// use carafe::{Hub, MemoryLog};
///
/// let mut options = Options::default();
/// // Clients without a token may subscribe and publish.
/// options.anonymous = Rights::all();
/// let hub = Hub::new(MemoryLog::default());
/// let app: axum::Router = axum::Router::new().nest("/live", router(hub, options));
/// ```
pub mod http {
    #[cfg(feature = "mercure")]
    pub use carafe_http::Mercure;
    #[cfg(feature = "hub")]
    pub use carafe_http::{
        BadRevocation, BasePath, BodyBudget, Figure, Metrics, Network, Options, Origin, Origins,
        Page, Proxies, ProxyHeader, PublishRate, Rate, Readiness, Revocation, RevocationLimits,
        Revocations, RevokeError, Revoked, Rights, SubscriberLimits, Subscribers, metrics_router,
        router,
    };
    pub use carafe_http::{Problem, StreamDrain};
}

/// The accept loop: TLS, shards, write timeouts, limits per address, drain.
///
/// ```no_run
/// use carafe::server::{Served, ServerOptions, serve};
/// use carafe::{Hub, HubExt, MemoryLog};
///
/// # #[tokio::main] async fn main() -> std::io::Result<()> {
/// # let stop = std::future::pending();
/// let hub = Hub::new(MemoryLog::default());
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// // Until `stop` completes. Then all streams end, after the events that are stored by then.
/// serve(listener, hub.router(), &hub, ServerOptions::default(), stop).await?;
/// # Ok(()) }
/// ```
#[cfg(feature = "server")]
pub mod server {
    pub use carafe_http::{
        CatchUp, Listeners, Served, ServerOptions, ShardOptions, Tls, TlsError, serve, serve_beside,
    };
}

#[cfg(feature = "client")]
pub use carafe_client as client;
#[cfg(feature = "auth")]
pub use carafe_http::auth;
#[cfg(feature = "hub")]
pub use carafe_log as log;
pub use carafe_protocol as protocol;

/// The samples of the README are tests.
#[cfg(all(doctest, feature = "hub"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
