//! Whether the hub lives, and whether it takes work.

use axum::extract::State;
use http::header::{CACHE_CONTROL, HeaderName};

use crate::Problem;
use crate::router::App;

type Plain = ([(HeaderName, &'static str); 1], &'static str);

/// The process answers.
pub(crate) async fn alive() -> Plain {
    ([(CACHE_CONTROL, "no-store")], "alive\n")
}

/// New streams and events are welcome: the hub is not draining.
pub(crate) async fn ready(State(app): State<App>) -> Result<Plain, Problem> {
    if app.hub.is_draining() {
        return Err(Problem::try_again("the hub is shutting down: send requests to another node"));
    }
    Ok(([(CACHE_CONTROL, "no-store")], "ready\n"))
}
