//! Event streams and the Carafe hub for [axum].
//!
//! - [`EventStream`] makes any handler an event stream for one connection;
//! - [`router`] mounts a hub in any app: publish with `curl`, read with `new EventSource(…)`;
//! - [`auth`] checks the tokens of who asks: [`Keys`](auth::Keys) in the [`Options`] of a router;
//! - [`serve`] runs an app until it is told to stop, and then drains its streams.
//!
//! ```no_run
//! use carafe_hub::Hub;
//! use carafe_http::{Options, router};
//! use carafe_log::MemoryLog;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! let hub = Hub::new(MemoryLog::default());
//! let app = axum::Router::new().nest("/live", router(hub.clone(), Options::default()));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(listener, app).await
//! # }
//! ```

mod address;
mod answers;
pub mod auth;
mod batch;
mod body;
mod body_budget;
mod caller;
mod conformance;
mod event_stream;
mod frame_guard;
mod headers;
mod health;
mod heartbeat;
mod http2_frames;
mod hub_body;
mod hub_metrics;
mod idle;
mod lazy_socket;
mod limit;
mod line;
mod lines;
mod listener;
mod loopback;
mod mercure;
mod metrics;
mod options;
mod origins;
mod page;
mod problem;
mod process_metrics;
mod publish;
mod publish_rate;
mod query;
mod rights;
mod router;
mod seldom;
mod serve;
mod sharer;
mod stream;
mod subscribe;
mod subscribers;
mod takeover;
mod tls;
mod unread;
mod watched_socket;
mod write_time;

pub use address::{Network, Proxies, ProxyHeader};
pub use body_budget::BodyBudget;
pub use carafe_fanout::{CatchUp, ShardOptions};
pub use event_stream::{EventStream, Events, Gone, HandlerError, JsonError};
pub use mercure::Mercure;
pub use metrics::{Metrics, metrics_router};
pub use options::{Options, Page};
pub use origins::{Origin, Origins};
pub use problem::Problem;
pub use publish_rate::{PublishRate, Rate};
pub use rights::Rights;
pub use router::{HubExt, router};
pub use serve::{Served, ServerOptions, serve, serve_beside};
pub use subscribers::{SubscriberLimits, Subscribers};
pub use tls::{Tls, TlsError};
