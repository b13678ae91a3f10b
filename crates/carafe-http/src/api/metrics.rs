//! `GET /metrics`, on a listener of its own.

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use carafe_hub::Hub;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use prometheus_client::encoding::prometheus_text::encode;
use prometheus_client::registry::Registry;

use crate::answer::problem::Problem;
use crate::api::health;
use crate::api::options::Options;
use crate::observe::{hub_metrics, process_metrics};

/// `/metrics` in the text format of Prometheus, with `/healthz` and `/readyz`.
///
/// Serve it on a listener of its own. Metrics tell more than clients should know, and the listener
/// stays reachable when clients use up all connections of the hub's.
///
/// ```no_run
/// use carafe_http::{Options, metrics_router};
/// use carafe_hub::Hub;
/// use carafe_log::MemoryLog;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let (hub, options) = (Hub::new(MemoryLog::default()), Options::default());
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:9090").await?;
/// axum::serve(listener, metrics_router(&options, hub)).await
/// # }
/// ```
pub fn metrics_router(options: &Options, hub: Hub) -> Router {
    let mut registry = Registry::default();
    options.metrics.register(&mut registry);
    hub_metrics::register(&mut registry, hub.clone());
    process_metrics::register(&mut registry);
    let registry = Arc::new(registry);
    let scrape = move || {
        let registry = Arc::clone(&registry);
        async move { render(&registry) }
    };
    Router::new()
        .route("/metrics", get(scrape).fallback(async || Problem::wrong_method("GET, HEAD")))
        .merge(health::routes(hub, options.readiness.clone()))
        .fallback(async || Problem::no_metrics_here())
}

fn render(registry: &Registry) -> Response {
    let mut text = String::new();
    encode(&mut text, registry).expect("writing to a string does not fail");
    let headers =
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"), (CACHE_CONTROL, "no-store")];
    (headers, text).into_response()
}
