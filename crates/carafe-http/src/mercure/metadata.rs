//! The metadata of the protected resource: what the hub requires of tokens (RFC 9728).

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::Method;
use http::header::CACHE_CONTROL;
use serde::Serialize;

use crate::answer::problem::check_read_only;
use crate::auth::verified::Dialect;
use crate::mercure::claims::DETAIL;
use crate::mercure::refusal::Refusal;
use crate::mercure::state::Adapter;

#[derive(Serialize)]
struct Metadata<'a> {
    resource: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    authorization_servers: Vec<String>,
    bearer_methods_supported: [&'static str; 1],
    authorization_details_types_supported: [&'static str; 1],
    mercure_subscriptions: bool,
}

pub(crate) async fn metadata(
    State(adapter): State<Adapter>,
    method: Method,
) -> Result<Response, Refusal> {
    check_read_only(&method)?;
    let metadata = Metadata {
        resource: adapter.resource.as_ref().map_or("", |url| url.as_str()),
        authorization_servers: adapter.app.options.keys.issuers(Dialect::Mercure1),
        bearer_methods_supported: ["header"],
        authorization_details_types_supported: [DETAIL],
        mercure_subscriptions: adapter.subscriptions.is_some(),
    };
    Ok(([(CACHE_CONTROL, "no-cache")], Json(metadata)).into_response())
}
