//! The layer around all endpoints: security headers, CORS, counters of rejected requests, and a log
//! line for each request.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::ORIGIN;
use tower::{Layer, ServiceExt};
use tower_http::cors::CorsLayer;
use tracing::debug;

use crate::answer::headers::secure;
use crate::answer::problem::Refused;
use crate::api::options::Options;
use crate::api::unread;
use crate::observe::endpoint;
use crate::observe::metrics::Metrics;
use crate::policy::loopback;
use crate::server::conformance;

/// The state of the layer.
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

    /// Counts rejected requests and logs each request, without its query, which may hold a token.
    async fn observe(&self, request: Request, next: Next) -> Response {
        let (start, method, uri) =
            (Instant::now(), request.method().clone(), request.uri().clone());
        let response = self.protect(request, next).await;
        if let Some(refused) = response.extensions().get::<Refused>() {
            self.metrics.refused(endpoint::label(&method, &uri), refused.reason);
            refused.limit.into_iter().for_each(|limit| self.metrics.limited(limit));
        }
        let (status, path) = (response.status().as_u16(), uri.path());
        debug!(%method, path, status, time = ?start.elapsed(), "answered");
        response
    }

    /// Rejects requests of pages that may not use the hub.
    async fn protect(&self, request: Request, next: Next) -> Response {
        if self.loopback_only
            && let Err(problem) = loopback::check(&request)
        {
            return problem.into_response();
        }
        // Only browsers send `Origin`. Other requests skip the CORS layer, which clones the
        // service.
        if !request.headers().contains_key(ORIGIN) {
            return next.run(request).await;
        }
        let Ok(response) = self.cors.layer(next).oneshot(request).await;
        response
    }
}

/// The middleware. It is one layer, since axum clones all layers of a router for each request.
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
