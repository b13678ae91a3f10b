//! The Mercure protocol on `/.well-known/mercure`: an adapter over the same hub.
//!
//! It speaks two versions, 0.x and the draft of 1.0; each request is of one of them. They differ in
//! how topics are requested, in tokens and in responses. Updates are the same, and the
//! [hub](carafe_hub) stores and delivers them like all other events.
//!
//! Only this folder uses Mercure's terms: an *update* is a publication, a *selector* a matcher. It
//! is the topmost layer: nothing else in this crate depends on it but the router.

mod claims;
mod cursor;
mod encoder;
mod form_data;
mod mercure_caller;
mod metadata;
mod payloads;
mod presence;
mod publish;
mod refusal;
mod selector;
mod state;
mod subscribe;
mod subscriptions;
mod update;
mod version;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::Request;

use crate::answer::problem::Problem;
use crate::api::app::App;
use crate::api::options::Mercure;
use crate::observe::endpoint;
use state::Adapter;

/// The endpoints that the options turn on.
pub(crate) fn routes(app: &App, options: &Mercure) -> Router {
    let adapter = Adapter::new(app, options);
    let mut router = Router::new().route(endpoint::MERCURE, any(hub));
    if adapter.resource.is_some() {
        for path in adapter.metadata_paths() {
            router = router.route(&path, any(metadata::metadata));
        }
    }
    if options.subscriptions {
        for segments in ["", "/{a}", "/{a}/{b}", "/{a}/{b}/{c}"] {
            let path = format!("{}{segments}", presence::SUBSCRIPTIONS);
            router = router.route(&path, any(subscriptions::get));
        }
    }
    router.with_state(adapter)
}

/// axum's method router does not know `QUERY`.
async fn hub(State(adapter): State<Adapter>, request: Request<Body>) -> Response {
    let answer = match request.method().as_str() {
        "GET" | "HEAD" | "QUERY" => subscribe::subscribe(&adapter, request).await,
        "POST" => publish::publish(&adapter, request).await,
        _ => return Problem::wrong_method("GET, HEAD, POST, QUERY").into_response(),
    };
    answer.unwrap_or_else(IntoResponse::into_response)
}
