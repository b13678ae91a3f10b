//! `/healthz` and `/readyz`: whether the process runs, and whether the hub takes work.

use axum::Router;
use axum::extract::State;
use axum::routing::{MethodRouter, get};
use carafe_hub::Hub;
use http::header::{CACHE_CONTROL, HeaderName};

use crate::answer::problem::Problem;

type Plain = ([(HeaderName, &'static str); 1], &'static str);

/// `/healthz` and `/readyz`.
pub(crate) fn routes(hub: Hub) -> Router {
    Router::new()
        .route("/healthz", read_only(get(alive)))
        .route("/readyz", read_only(get(ready)))
        .with_state(hub)
}

/// Rejects methods that the route does not have.
pub(crate) fn read_only<S: Clone + Send + Sync + 'static>(
    route: MethodRouter<S>,
) -> MethodRouter<S> {
    route.fallback(async || Problem::wrong_method("GET, HEAD"))
}

/// 200 as long as the process answers.
async fn alive() -> Plain {
    ([(CACHE_CONTROL, "no-store")], "alive\n")
}

/// 200 as long as the hub takes new streams and events; 503 before and while it drains.
async fn ready(State(hub): State<Hub>) -> Result<Plain, Problem> {
    // Load balancers stop sending work while requests are still served, and open streams end.
    if !hub.is_ready() {
        return Err(Problem::try_again("the hub is shutting down: send requests to another node"));
    }
    Ok(([(CACHE_CONTROL, "no-store")], "ready\n"))
}
