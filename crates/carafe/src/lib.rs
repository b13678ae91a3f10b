//! Push events from servers to browsers, and lose nothing.
//!
//! **One connection.** [`EventStream`] makes any axum handler an event stream:
//!
//! ```
//! use std::time::Duration;
//! use carafe::EventStream;
//!
//! async fn events() -> EventStream {
//!     EventStream::new(async |events| {
//!         events.retry(Duration::from_secs(10)).await?;
//!         for count in 1.. {
//!             tokio::time::sleep(Duration::from_secs(1)).await;
//!             events.data(count).await?;
//!         }
//!         Ok(())
//!     })
//! }
//! ```
//!
//! **Many connections.** A [`Hub`] keeps what was published, and a client that reconnects gets
//! exactly what it missed:
//!
//! ```no_run
//! use carafe::{Hub, HubExt, MemoryLog, Publication, Topic};
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::new(MemoryLog::default());
//! let app = axum::Router::new().nest("/live", hub.router());
//! // In the browser: new EventSource("/live/events/orders")
//! hub.publish(Publication::new(Topic::new("orders")?, "one flat white")).await?;
//! # Ok(()) }
//! ```
//!
//! The `carafe` program is the same hub for programs in any language.

#[cfg(feature = "client")]
pub use carafe_client as client;
#[cfg(feature = "mercure")]
pub use carafe_http::Mercure;
#[cfg(feature = "auth")]
pub use carafe_http::auth;
pub use carafe_http::{EventStream, Events, Gone, HandlerError, JsonError, Problem};
#[cfg(feature = "hub")]
pub use carafe_http::{
    HubExt, Metrics, Network, Options, Origin, Origins, Page, Proxies, ProxyHeader, PublishRate,
    Rate, Rights, SubscriberLimits, Subscribers, metrics_router, router,
};
#[cfg(feature = "server")]
pub use carafe_http::{Served, ServerOptions, ShardOptions, Tls, TlsError, serve, serve_beside};
#[cfg(feature = "hub")]
pub use carafe_hub::{
    Access, Delivery, Drain, Encoder, Format, Frames, Gap, GapReason, Grant, Hub, HubCounts,
    HubLimits, PublishError, Retention, Start, Subscribe, SubscribeError, Subscription,
};
#[cfg(feature = "hub")]
pub use carafe_log::{
    self as log, Appended, Entry, IdempotencyKey, MemoryLimits, MemoryLog, Publication,
};
#[cfg(feature = "disk")]
pub use carafe_log::{DiskLog, DiskOptions};
pub use carafe_protocol::{self as protocol, Event, EventId, EventType, Position};
#[cfg(feature = "hub")]
pub use carafe_protocol::{Topic, TopicMatcher, TopicPattern};
