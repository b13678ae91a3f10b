//! What every answer gets: security headers, a place in the counters, and a line in the log of those who look closely.

use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, Uri};
use tracing::debug;

use crate::problem::Refused;
use crate::{Metrics, mercure, unread};

/// For what is no page: nothing is loaded, run or framed, should a browser take it for one.
const NO_PAGE: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// Nothing of the hub is for other sites' pages to embed. What they may fetch is said by CORS, which asks no more of this.
const OWN_PAGES: (HeaderName, HeaderValue) =
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin"));

/// Around everything else. One layer: a router clones all its layers for each request.
pub(crate) async fn answer(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let mut response = observe(&metrics, unread::read_on(request), next).await;
    secure(response.headers_mut());
    response
}

/// Sets the headers that keep browsers from making more of an answer than it is.
fn secure(headers: &mut HeaderMap) {
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(NO_PAGE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let (name, value) = OWN_PAGES;
    headers.insert(name, value);
}

/// Counts what was refused, and tells of each request. Its query is left out: it may hold secrets.
async fn observe(metrics: &Metrics, request: Request, next: Next) -> Response {
    let (start, method, uri) = (Instant::now(), request.method().clone(), request.uri().clone());
    let response = next.run(request).await;
    if let Some(refused) = response.extensions().get::<Refused>() {
        metrics.refused(asked_for(&method, &uri), refused.reason);
        refused.limit.into_iter().for_each(|limit| metrics.limited(limit));
    }
    let (status, path) = (response.status().as_u16(), uri.path());
    debug!(%method, path, status, time = ?start.elapsed(), "answered");
    response
}

fn asked_for(method: &Method, uri: &Uri) -> &'static str {
    // The router may be mounted under any path, which is gone from the URI here.
    let path = uri.path();
    match method.as_str() {
        _ if !path.starts_with("/events") && path != mercure::PATH => "other",
        "POST" => "publish",
        "GET" | "QUERY" => "subscribe",
        _ => "other",
    }
}
