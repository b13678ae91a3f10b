//! Event streams and the Carafe hub for [axum].
//!
//! - [`EventStream`] makes any handler an event stream for one connection;
//! - [`router`] mounts a hub in any app: publish with `curl`, read with `new EventSource(…)`;
//! - [`auth`] verifies tokens: put [`Keys`](auth::Keys) into the [`Options`] of a router;
//! - [`serve`] runs an app with shards and limits until it is stopped, and then drains its streams.
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

#[cfg(all(feature = "server", not(unix)))]
compile_error!(
    "the feature `server` of Carafe needs Unix: leave it out, and serve the router with axum::serve"
);

#[cfg_attr(
    not(feature = "hub"),
    allow(dead_code, reason = "most problems, limits and headers are the hub's")
)]
mod answer;
mod api;
#[cfg(feature = "auth")]
pub mod auth;
#[cfg(feature = "mercure")]
mod mercure;
#[cfg(feature = "hub")]
mod observe;
#[cfg(feature = "hub")]
mod policy;
#[cfg(feature = "hub")]
mod router;
#[cfg(feature = "hub")]
mod server;

pub use answer::problem::Problem;
pub use answer::stream_drain::StreamDrain;
pub use api::event_sender::{Events, Gone, HandlerError, JsonError};
pub use api::event_stream::EventStream;
pub use api::last_event_id::LastEventId;
#[cfg(feature = "hub")]
pub use api::metrics::metrics_router;
#[cfg(feature = "mercure")]
pub use api::options::Mercure;
#[cfg(feature = "hub")]
pub use api::options::{Options, Page};
#[cfg(feature = "hub")]
pub use carafe_fanout::{CatchUp, ShardOptions};
#[cfg(feature = "hub")]
pub use observe::figures::Figure;
#[cfg(feature = "hub")]
pub use observe::metrics::Metrics;
#[cfg(feature = "hub")]
pub use policy::address::{Network, Proxies, ProxyHeader};
#[cfg(feature = "hub")]
pub use policy::base_path::BasePath;
#[cfg(feature = "hub")]
pub use policy::body_budget::BodyBudget;
#[cfg(feature = "hub")]
pub use policy::origins::{Origin, Origins};
#[cfg(feature = "hub")]
pub use policy::publish_rate::{PublishRate, Rate};
#[cfg(feature = "hub")]
pub use policy::readiness::Readiness;
#[cfg(feature = "hub")]
pub use policy::revocations::{
    BadRevocation, Revocation, RevocationLimits, Revocations, RevokeError, Revoked,
};
#[cfg(feature = "hub")]
pub use policy::rights::Rights;
#[cfg(feature = "hub")]
pub use policy::subscribers::{SubscriberLimits, Subscribers};
#[cfg(feature = "hub")]
pub use router::{HubExt, router};
#[cfg(feature = "server")]
pub use server::drain::Served;
#[cfg(feature = "server")]
pub use server::listener::Listeners;
#[cfg(feature = "server")]
pub use server::options::ServerOptions;
#[cfg(feature = "server")]
pub use server::serve::{serve, serve_beside};
#[cfg(feature = "server")]
pub use server::tls::{Tls, TlsError};
