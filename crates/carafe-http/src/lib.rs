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

mod answer;
mod api;
pub mod auth;
mod mercure;
mod observe;
mod policy;
mod router;
mod server;

pub use answer::problem::Problem;
pub use api::event_stream::{EventStream, Events, Gone, HandlerError, JsonError};
pub use api::metrics::metrics_router;
pub use api::options::{Mercure, Options, Page};
pub use carafe_fanout::{CatchUp, ShardOptions};
pub use observe::metrics::Metrics;
pub use policy::address::{Network, Proxies, ProxyHeader};
pub use policy::body_budget::BodyBudget;
pub use policy::origins::{Origin, Origins};
pub use policy::publish_rate::{PublishRate, Rate};
pub use policy::rights::Rights;
pub use policy::subscribers::{SubscriberLimits, Subscribers};
pub use router::{HubExt, router};
pub use server::serve::{Served, ServerOptions, serve, serve_beside};
pub use server::tls::{Tls, TlsError};
