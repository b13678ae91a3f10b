//! The layer around all endpoints: security headers, CORS, counters of rejected requests, and a log
//! line for each request.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::ORIGIN;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::CorsLayer;
use tracing::debug;

use crate::answer::headers::secure;
use crate::answer::problem::{Problem, Refused};
use crate::api::options::Options;
use crate::api::{health, history, subscribe, unread};
use crate::observe::endpoint;
use crate::observe::metrics::Metrics;
use crate::policy::loopback;
use crate::policy::readiness::Readiness;
use crate::server::conformance;

/// The state of the layer.
pub(crate) struct Answers {
    metrics: Metrics,
    readiness: Readiness,
    retry: Duration,
    cors: CorsLayer,
    loopback_only: bool,
}

impl Answers {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            metrics: options.metrics.clone(),
            readiness: options.readiness.clone(),
            retry: options.retry,
            cors: options.origins.cors(),
            loopback_only: options.loopback_only,
        }
    }

    /// The answer of an endpoint, with what this layer adds. The endpoint is called once at most.
    pub(crate) async fn around<F: Future<Output = Response>>(
        &self,
        request: Request,
        endpoint: impl FnOnce(Request) -> F,
    ) -> Response {
        let version = request.version();
        let endpoint = move |request| async move {
            match self.closed(&request) {
                Some(answer) => answer,
                None => endpoint(request).await,
            }
        };
        let mut response = self.observe(unread::read_on(request), endpoint).await;
        secure(response.headers_mut());
        conformance::of_version(version, response)
    }

    /// Counts rejected requests and logs each request, without its query, which may hold a token.
    async fn observe<F: Future<Output = Response>>(
        &self,
        request: Request,
        endpoint: impl FnOnce(Request) -> F,
    ) -> Response {
        let (start, method, uri) =
            (Instant::now(), request.method().clone(), request.uri().clone());
        let response = self.protect(request, endpoint).await;
        if let Some(refused) = response.extensions().get::<Refused>() {
            self.metrics.refused(endpoint::label(&method, &uri), refused.reason);
            refused.limit.into_iter().for_each(|limit| self.metrics.limited(limit));
        }
        let (status, path) = (response.status().as_u16(), uri.path());
        debug!(%method, path, status, time = ?start.elapsed(), "answered");
        response
    }

    /// The answer of a hub that serves no clients yet.
    fn closed(&self, request: &Request) -> Option<Response> {
        let reason = self.readiness.why_closed()?;
        if health::is_check(request.uri()) {
            return None;
        }
        let is_stream = endpoint::label(request.method(), request.uri()) == "subscribe"
            && !history::is_page(request.headers(), request.uri().query());
        Some(match is_stream {
            true => subscribe::come_back(&self.metrics, request.version(), "starting", self.retry),
            false => Problem::try_again(format!("{reason}: try again in a moment")).into_response(),
        })
    }

    /// Rejects requests of pages that may not use the hub.
    async fn protect<F: Future<Output = Response>>(
        &self,
        request: Request,
        endpoint: impl FnOnce(Request) -> F,
    ) -> Response {
        if self.loopback_only
            && let Err(problem) = loopback::check(&request)
        {
            return problem.into_response();
        }
        // Only browsers send `Origin`. Other requests skip the CORS layer.
        if !request.headers().contains_key(ORIGIN) {
            return endpoint(request).await;
        }
        let mut endpoint = Some(endpoint);
        let once = service_fn(|request| {
            let endpoint = endpoint.take().expect("the layer calls its service once");
            async { Ok::<_, Infallible>(endpoint(request).await) }
        });
        let Ok(response) = self.cors.layer(once).oneshot(request).await;
        response
    }
}

/// The layer as a middleware of axum, for endpoints that are handlers.
pub(crate) async fn answer(
    State(answers): State<Arc<Answers>>,
    request: Request,
    next: Next,
) -> Response {
    answers.around(request, |request| next.run(request)).await
}
