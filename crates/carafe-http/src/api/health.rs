//! Whether the hub lives, and whether it takes work.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use carafe_hub::Hub;
use http::header::{CACHE_CONTROL, HeaderName};

use crate::answer::problem::Problem;
use crate::api::router::read_only;

type Plain = ([(HeaderName, &'static str); 1], &'static str);

/// `/healthz` and `/readyz`.
pub(crate) fn routes(hub: Hub) -> Router {
    Router::new()
        .route("/healthz", read_only(get(alive)))
        .route("/readyz", read_only(get(ready)))
        .with_state(hub)
}

/// The process answers.
async fn alive() -> Plain {
    ([(CACHE_CONTROL, "no-store")], "alive\n")
}

/// New streams and events are welcome: the hub is not draining.
async fn ready(State(hub): State<Hub>) -> Result<Plain, Problem> {
    if hub.is_draining() {
        return Err(Problem::try_again("the hub is shutting down: send requests to another node"));
    }
    Ok(([(CACHE_CONTROL, "no-store")], "ready\n"))
}
