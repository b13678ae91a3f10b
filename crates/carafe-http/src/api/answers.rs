//! What every answer gets: security headers, a place in the counters, and a line in the log of
//! those who look closely.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, ORIGIN, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Method, Uri};
use tower::{Layer, ServiceExt};
use tower_http::cors::CorsLayer;
use tracing::debug;

use crate::answer::problem::Refused;
use crate::api::options::Options;
use crate::api::unread;
use crate::mercure;
use crate::observe::metrics::Metrics;
use crate::policy::loopback;
use crate::server::conformance;

/// For what is no page: nothing is loaded, run or framed, should a browser take it for one.
const NO_PAGE: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// Nothing of the hub is for other sites' pages to embed. What they may fetch is said by CORS,
/// which asks no more of this.
const OWN_PAGES: (HeaderName, HeaderValue) = (
    HeaderName::from_static("cross-origin-resource-policy"),
    HeaderValue::from_static("same-origin"),
);

/// What there is around everything else.
pub(crate) struct Answers {
    metrics: Metrics,
    cors: CorsLayer,
    loopback_only: bool,
}

impl Answers {
    pub(crate) fn new(options: &Options) -> Self {
        let (metrics, loopback_only) = (options.metrics.clone(), options.loopback_only);
        Self { metrics, cors: options.origins.cors(), loopback_only }
    }

    /// Counts what was refused, and tells of each request. Its query is left out: it may hold
    /// secrets.
    async fn observe(&self, request: Request, next: Next) -> Response {
        let (start, method, uri) =
            (Instant::now(), request.method().clone(), request.uri().clone());
        let response = self.protect(request, next).await;
        if let Some(refused) = response.extensions().get::<Refused>() {
            self.metrics.refused(asked_for(&method, &uri), refused.reason);
            refused.limit.into_iter().for_each(|limit| self.metrics.limited(limit));
        }
        let (status, path) = (response.status().as_u16(), uri.path());
        debug!(%method, path, status, time = ?start.elapsed(), "answered");
        response
    }

    /// Keeps pages out that may not use the hub.
    async fn protect(&self, request: Request, next: Next) -> Response {
        if self.loopback_only
            && let Err(problem) = loopback::check(&request)
        {
            return problem.into_response();
        }
        if !request.headers().contains_key(ORIGIN) {
            return next.run(request).await;
        }
        let Ok(response) = self.cors.layer(next).oneshot(request).await;
        response
    }
}

/// One layer with all of it: a router clones its layers, and what is in them, for each request.
pub(crate) async fn answer(
    State(answers): State<Arc<Answers>>,
    request: Request,
    next: Next,
) -> Response {
    let version = request.version();
    let mut response = answers.observe(unread::read_on(request), next).await;
    secure(response.headers_mut());
    conformance::of_version(version, response)
}

/// Sets the headers that keep browsers, and caches, from making more of an answer than it is.
pub(crate) fn secure(headers: &mut HeaderMap) {
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(NO_PAGE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let (name, value) = OWN_PAGES;
    headers.insert(name, value);
    // What a page of one origin may read, no cache may give to another's.
    headers.append(VARY, HeaderValue::from_static("origin"));
}

pub(crate) fn asked_for(method: &Method, uri: &Uri) -> &'static str {
    // The router may be mounted under any path, which is gone from the URI here.
    let path = uri.path();
    match method.as_str() {
        _ if !path.starts_with("/events") && path != mercure::PATH => "other",
        "POST" => "publish",
        "GET" | "QUERY" => "subscribe",
        _ => "other",
    }
}
