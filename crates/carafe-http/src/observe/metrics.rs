//! What is counted, and how it is told.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use carafe_fanout::EndReason;
use carafe_hub::Hub;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use prometheus_client::encoding::prometheus_text::encode;
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::answer::limit::Limit;
use crate::answer::problem::Problem;
use crate::api::health;
use crate::observe::hub_metrics;
use crate::observe::process_metrics;

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// Counters of what happens over HTTP. All clones of it are one.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    streams: Family<DeliveryPath, Gauge>,
    opened: Family<DeliveryPath, Counter>,
    closed: Family<Closed, Counter>,
    limited: Family<Labels<1>, Counter>,
    refused: Family<Labels<2>, Counter>,
    stored: Histogram,
}

/// The way by which a stream leaves: what writes it, and why that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DeliveryPath {
    /// A shard, which has taken the socket over.
    Shard,
    /// hyper, as any other answer.
    Hyper(FallbackReason),
}

/// FallbackReason no shard writes a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FallbackReason {
    Http2,
    Http10,
    Tls,
    /// The request has a body.
    Body,
    /// Something has changed the head of the answer.
    Changed,
    /// The app is served by something else, or for another hub.
    Elsewhere,
    /// There are no shards.
    NoShards,
}

impl Default for Metrics {
    /// All at zero.
    fn default() -> Self {
        // From a tenth of a millisecond on, in memory, to some seconds, on a disk that cannot
        // follow.
        let buckets =
            [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];
        let metrics = Self(Arc::new(Counters {
            streams: Family::default(),
            opened: Family::default(),
            closed: Family::default(),
            limited: Family::default(),
            refused: Family::default(),
            stored: Histogram::new(buckets),
        }));
        // A counter that is not there cannot be seen to rise.
        Limit::ALL
            .iter()
            .for_each(|limit| drop(metrics.0.limited.get_or_create(&[("limit", limit.name())])));
        metrics
    }
}

impl Metrics {
    /// Somebody has met a limit.
    pub(crate) fn limited(&self, limit: Limit) {
        self.0.limited.get_or_create(&[("limit", limit.name())]).inc();
    }

    /// A request to do this was refused for this reason.
    pub(crate) fn refused(&self, request: &'static str, reason: &'static str) {
        self.0.refused.get_or_create(&[("request", request), ("reason", reason)]).inc();
    }

    /// Events are stored that were handed over at this time.
    pub(crate) fn stored(&self, since: Instant) {
        self.0.stored.observe(since.elapsed().as_secs_f64());
    }

    pub(crate) fn opened(&self, path: DeliveryPath) {
        self.0.streams.get_or_create(&path).inc();
        self.0.opened.get_or_create(&path).inc();
    }

    pub(crate) fn changed(&self, from: DeliveryPath, to: DeliveryPath) {
        self.0.streams.get_or_create(&from).dec();
        self.opened(to);
    }

    pub(crate) fn closed(&self, path: DeliveryPath, end: EndReason) {
        self.0.streams.get_or_create(&path).dec();
        if end == EndReason::Stalled {
            self.limited(Limit::WriteTime);
        }
        self.0.closed.get_or_create(&Closed { path: path.name(), end }).inc();
    }

    fn register(&self, registry: &mut Registry) {
        let counters = &self.0;
        registry.register(
            "carafe_streams",
            "Open streams, by their delivery path",
            counters.streams.clone(),
        );
        registry.register(
            "carafe_streams_opened",
            "Streams that were opened, by their delivery path",
            counters.opened.clone(),
        );
        registry.register(
            "carafe_streams_closed",
            "Streams that have ended, by how: left and stalled is the client, ended and cut is the hub, failed is the log",
            counters.closed.clone(),
        );
        registry.register(
            "carafe_limited",
            "How often somebody has met a limit, by the limit",
            counters.limited.clone(),
        );
        registry.register(
            "carafe_refused",
            "Requests that were refused, by what was asked for and the problem's name",
            counters.refused.clone(),
        );
        registry.register(
            "carafe_publish_seconds",
            "Seconds until events were stored, as durably as the log makes it",
            counters.stored.clone(),
        );
    }
}

/// What tells ended streams from each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Closed {
    path: &'static str,
    end: EndReason,
}

impl EncodeLabelSet for DeliveryPath {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let reason = match self {
            Self::Shard => "",
            Self::Hyper(reason) => reason.name(),
        };
        [("path", self.name()), ("reason", reason)].encode(encoder)
    }
}

impl EncodeLabelSet for Closed {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        [("path", self.path), ("reason", self.end.name())].encode(encoder)
    }
}

impl DeliveryPath {
    fn name(self) -> &'static str {
        match self {
            Self::Shard => "shard",
            Self::Hyper(_) => "hyper",
        }
    }
}

impl FallbackReason {
    fn name(self) -> &'static str {
        match self {
            Self::Http2 => "http2",
            Self::Http10 => "http1.0",
            Self::Tls => "tls",
            Self::Body => "body",
            Self::Changed => "changed",
            Self::Elsewhere => "elsewhere",
            Self::NoShards => "no-shards",
        }
    }
}

/// `/metrics`, in the text format of Prometheus, for a listener of its own: it tells more than
/// strangers should know. `/healthz` and `/readyz` are there, too: clients that use up all
/// connections of the hub's listener have no part in this one.
pub fn metrics_router(metrics: &Metrics, hub: Hub) -> Router {
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    hub_metrics::register(&mut registry, hub.clone());
    process_metrics::register(&mut registry);
    let registry = Arc::new(registry);
    let told = move || {
        let registry = Arc::clone(&registry);
        async move { tell(&registry) }
    };
    Router::new()
        .route("/metrics", get(told).fallback(async || Problem::wrong_method("GET, HEAD")))
        .merge(health::routes(hub))
        .fallback(async || Problem::no_metrics_here())
}

fn tell(registry: &Registry) -> Response {
    let mut text = String::new();
    encode(&mut text, registry).expect("a text takes all that is written");
    let headers =
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"), (CACHE_CONTROL, "no-store")];
    (headers, text).into_response()
}

/// One open stream, counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    metrics: Metrics,
    path: DeliveryPath,
    end: EndReason,
    /// Whether the stream counts a connection, too. It is kept here, where it takes no memory:
    /// there may be a million.
    pub(crate) has_connection: bool,
}

impl Counted {
    pub(crate) fn new(metrics: &Metrics, path: DeliveryPath) -> Self {
        metrics.opened(path);
        Self { metrics: metrics.clone(), path, end: EndReason::Left, has_connection: false }
    }

    /// It leaves another way than was thought.
    pub(crate) fn goes(&mut self, path: DeliveryPath) {
        self.metrics.changed(self.path, path);
        self.path = path;
    }

    /// Says how the stream has ended; without it, the client left.
    pub(crate) fn ends(&mut self, end: EndReason) {
        self.end = end;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.closed(self.path, self.end);
    }
}
