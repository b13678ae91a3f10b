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

pub use carafe_client as client;
pub use carafe_http::auth;
pub use carafe_http::{
    EventStream, Events, Gone, HandlerError, HubExt, JsonError, Mercure, Options, Page, Problem,
    Rights, ShardOptions, router,
};
pub use carafe_http::{
    Metrics, Served, ServerOptions, Tls, TlsError, metrics_router, serve, serve_beside,
};
pub use carafe_http::{
    Network, Origin, Origins, Proxies, ProxyHeader, PublishRate, Rate, SubscriberLimits,
    Subscribers,
};
pub use carafe_hub::{
    Access, Delivery, Drain, Encoder, Format, Frames, Gap, GapReason, Grant, Hub, HubCounts,
    HubLimits, PublishError, Retention, Start, Subscribe, SubscribeError, Subscription,
};
pub use carafe_log as log;
pub use carafe_log::{
    Appended, DiskLog, DiskOptions, Entry, IdempotencyKey, MemoryLimits, MemoryLog, Publication,
};
pub use carafe_protocol::{
    self as protocol, Event, EventId, EventType, Position, Topic, TopicMatcher, TopicPattern,
};
