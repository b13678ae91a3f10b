//! `/healthz` and `/readyz`: whether the process runs, and whether the hub takes work.

use axum::Router;
use axum::extract::State;
use axum::routing::{MethodRouter, get};
use carafe_hub::Hub;
use http::Uri;
use http::header::{CACHE_CONTROL, HeaderName};

use crate::answer::problem::Problem;
use crate::policy::readiness::Readiness;

type Plain = ([(HeaderName, &'static str); 1], &'static str);

/// `/healthz` and `/readyz`.
pub(crate) fn routes(hub: Hub, readiness: Readiness) -> Router {
    Router::new()
        .route("/healthz", read_only(get(alive)))
        .route("/readyz", read_only(get(ready)))
        .with_state((hub, readiness))
}

/// Whether a request is one of these, whose path axum has freed from what the router is mounted
/// under.
pub(crate) fn is_check(uri: &Uri) -> bool {
    matches!(uri.path(), "/healthz" | "/readyz")
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

/// 200 as long as the hub takes new streams and events; 503 while it starts, before and while it
/// drains, and while it has a reason why other nodes serve clients better.
async fn ready(State((hub, readiness)): State<(Hub, Readiness)>) -> Result<Plain, Problem> {
    // Load balancers stop sending work while requests are still served, and open streams end.
    if !hub.is_ready() {
        return Err(Problem::try_again("the hub is shutting down: send requests to another node"));
    }
    match readiness.why_not_ready() {
        Some(reason) => Err(Problem::try_again(format!("{reason}: send requests to another node"))),
        None => Ok(([(CACHE_CONTROL, "no-store")], "ready\n")),
    }
}
