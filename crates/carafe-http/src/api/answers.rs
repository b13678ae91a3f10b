//! The layer around all endpoints: security headers, CORS, counters of rejected requests, and a log
//! line for each request.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::ORIGIN;
use http::{Method, StatusCode, Uri};
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::CorsLayer;
use tracing::{Level, debug, enabled};

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
        let label = endpoint::label(request.method(), request.uri());
        let logged = Logged::of(&request);
        let response = self.protect(request, endpoint).await;
        if let Some(refused) = response.extensions().get::<Refused>() {
            self.metrics.refused(label, refused.reason);
            refused.limit.into_iter().for_each(|limit| self.metrics.limited(limit));
        }
        if let Some(logged) = logged {
            logged.log(response.status());
        }
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

/// What is logged of a request.
struct Logged {
    start: Instant,
    method: Method,
    uri: Uri,
}

impl Logged {
    /// `None` if nothing is logged: a URI keeps the bytes of the whole head in memory, and with
    /// them the buffer that the connection would read into.
    fn of(request: &Request) -> Option<Self> {
        enabled!(Level::DEBUG).then(|| Self {
            start: Instant::now(),
            method: request.method().clone(),
            uri: request.uri().clone(),
        })
    }

    fn log(&self, status: StatusCode) {
        let (method, path, status) = (&self.method, self.uri.path(), status.as_u16());
        debug!(%method, path, status, time = ?self.start.elapsed(), "answered");
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
