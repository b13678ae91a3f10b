//! The counters of what happens over HTTP.
//!
//! All counters are atomic, and updated on whichever thread counts. The metric names are public:
//! docs/OPERATIONS.md lists them.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use carafe_fanout::EndReason;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::answer::limit::Limit;
use crate::observe::delivered::{self, Delivered};
use crate::observe::figures::{Figure, Sources};

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// Counters of what happens over HTTP. Clones are handles to the same counters.
///
/// ```
/// use carafe_http::{Options, metrics_router, router};
/// use carafe_hub::Hub;
/// use carafe_log::MemoryLog;
///
/// let hub = Hub::new(MemoryLog::default());
/// let options = Options::default();
/// // The router counts, and a listener of its own shows the counters.
/// let metrics: axum::Router = metrics_router(&options, hub.clone());
/// let app: axum::Router = router(hub, options);
/// ```
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
    ingests: Gauge,
    pages: Counter,
    revocations: Gauge,
    delivered: Delivered,
    added: Sources,
}

/// How a stream is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DeliveryPath {
    /// A shard has taken the socket over.
    Shard,
    /// hyper writes it, as any other response, for this reason.
    Hyper(FallbackReason),
}

/// Why no shard delivers a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FallbackReason {
    /// A shard does not speak HTTP/2.
    Http2,
    /// HTTP/1.0 has no chunks.
    Http10,
    /// A shard does not speak TLS 1.2.
    #[cfg(feature = "server")]
    Tls,
    /// The request has a body.
    Body,
    /// A layer of the app has changed the response.
    Changed,
    /// Another server than [`serve`](crate::serve) runs the app, or the stream is another hub's.
    Elsewhere,
    /// The server has no shards.
    #[cfg(feature = "server")]
    NoShards,
}

impl Default for Metrics {
    /// All counters at zero.
    fn default() -> Self {
        // From a tenth of a millisecond (a log in memory) to seconds (an overloaded disk).
        let buckets =
            [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];
        let metrics = Self(Arc::new(Counters {
            streams: Family::default(),
            opened: Family::default(),
            closed: Family::default(),
            limited: Family::default(),
            refused: Family::default(),
            stored: Histogram::new(buckets),
            ingests: Gauge::default(),
            pages: Counter::default(),
            revocations: Gauge::default(),
            delivered: Delivered::default(),
            added: Sources::default(),
        }));
        // All limits are exported from the start: an alert cannot see a rise from an absent series.
        Limit::ALL
            .iter()
            .for_each(|limit| drop(metrics.0.limited.get_or_create(&[("limit", limit.name())])));
        metrics
    }
}

impl Metrics {
    /// Adds figures of the program, which are asked for at each scrape.
    pub fn add_figures(&self, figures: impl Fn() -> Vec<Figure> + Send + Sync + 'static) {
        self.0.added.add(figures);
    }

    /// Counts that a limit was met.
    pub(crate) fn limited(&self, limit: Limit) {
        self.0.limited.get_or_create(&[("limit", limit.name())]).inc();
    }

    /// Counts a rejected request, by what it asked for and the reason.
    pub(crate) fn refused(&self, request: &'static str, reason: &'static str) {
        self.0.refused.get_or_create(&[("request", request), ("reason", reason)]).inc();
    }

    /// Records how long it took to store events that were passed to the log at this time.
    pub(crate) fn stored(&self, since: Instant) {
        self.0.stored.observe(since.elapsed().as_secs_f64());
    }

    /// Counts an ingest request, until it is dropped.
    pub(crate) fn ingests(&self) -> OpenIngest {
        self.0.ingests.inc();
        OpenIngest(self.clone())
    }

    /// Counts a page of history that was read.
    pub(crate) fn page(&self) {
        self.0.pages.inc();
    }

    /// Shows how many revocations are in force.
    pub(crate) fn revocations(&self) -> Gauge {
        self.0.revocations.clone()
    }

    fn opened(&self, path: DeliveryPath) {
        self.0.streams.get_or_create(&path).inc();
        self.0.opened.get_or_create(&path).inc();
    }

    fn moved(&self, from: DeliveryPath, to: DeliveryPath) {
        // The gauge of the old path; what was opened there stays counted.
        self.0.streams.get_or_create(&from).dec();
        self.opened(to);
    }

    fn closed(&self, path: DeliveryPath, end: EndReason) {
        self.0.streams.get_or_create(&path).dec();
        // The limit has its counter here, where every delivery path ends its streams.
        match end {
            EndReason::Stalled => self.limited(Limit::WriteTimeout),
            EndReason::Exceeded => self.limited(Limit::ReceivedBytes),
            _ => {}
        }
        self.0.closed.get_or_create(&Closed { path: path.name(), end }).inc();
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let counters = &self.0;
        registry.register(
            "carafe_streams",
            "Open streams, by delivery path",
            counters.streams.clone(),
        );
        registry.register(
            "carafe_streams_opened",
            "Streams opened, by delivery path",
            counters.opened.clone(),
        );
        registry.register(
            "carafe_streams_closed",
            "Streams closed, by end reason: left, stalled and exceeded by the client, ended, \
             revoked and cut by the hub, failed by the log",
            counters.closed.clone(),
        );
        registry.register("carafe_limited", "How often a limit was met", counters.limited.clone());
        registry.register(
            "carafe_refused",
            "Requests rejected, by what was asked for and the kind of problem",
            counters.refused.clone(),
        );
        registry.register(
            "carafe_publish_seconds",
            "Seconds until events were stored, as durably as the log makes it",
            counters.stored.clone(),
        );
        registry.register(
            "carafe_ingests",
            "Open ingest requests: their events are stored as they arrive",
            counters.ingests.clone(),
        );
        registry.register(
            "carafe_pages",
            "Pages of history read, also by long polls and for clients that have them already",
            counters.pages.clone(),
        );
        registry.register(
            "carafe_revocations",
            "Revocations of tokens and users that are in force",
            counters.revocations.clone(),
        );
        registry.register(
            "carafe_build",
            "The version of the running hub",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register_collector(Box::new(OfDeliveries(self.clone())));
        counters.added.register(registry);
    }
}

/// An open ingest request in the gauge.
pub(crate) struct OpenIngest(Metrics);

impl Drop for OpenIngest {
    fn drop(&mut self) {
        self.0.0.ingests.dec();
    }
}

/// What was delivered, summed when it is scraped.
#[derive(Debug)]
struct OfDeliveries(Metrics);

impl Collector for OfDeliveries {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        delivered::encode(&self.0.0.delivered, &mut encoder)
    }
}

/// The labels of closed streams.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Closed {
    path: &'static str,
    end: EndReason,
}

impl EncodeLabelSet for DeliveryPath {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        [("path", self.name()), ("reason", self.reason())].encode(encoder)
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

    /// Why it is not a shard; empty if it is.
    fn reason(self) -> &'static str {
        match self {
            Self::Shard => "",
            Self::Hyper(reason) => reason.name(),
        }
    }
}

impl fmt::Display for DeliveryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shard => f.write_str(self.name()),
            Self::Hyper(reason) => write!(f, "{} ({})", self.name(), reason.name()),
        }
    }
}

impl FallbackReason {
    fn name(self) -> &'static str {
        match self {
            Self::Http2 => "http2",
            Self::Http10 => "http1.0",
            #[cfg(feature = "server")]
            Self::Tls => "tls",
            Self::Body => "body",
            Self::Changed => "changed",
            Self::Elsewhere => "elsewhere",
            #[cfg(feature = "server")]
            Self::NoShards => "no-shards",
        }
    }
}

/// One open stream in the counters, until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    metrics: Metrics,
    path: DeliveryPath,
    end: EndReason,
    /// Whether the stream's permit counts its connection, too. The flag is kept here, where it fits
    /// into padding.
    pub(crate) has_connection: bool,
    /// Events that were sent; the number stops at its maximum. It fits into padding, too.
    events: u32,
}

impl Counted {
    pub(crate) fn new(metrics: &Metrics, path: DeliveryPath) -> Self {
        metrics.opened(path);
        // Every other end is reported by the code that delivers the stream.
        Self {
            metrics: metrics.clone(),
            path,
            end: EndReason::Left,
            has_connection: false,
            events: 0,
        }
    }

    pub(crate) fn path(&self) -> DeliveryPath {
        self.path
    }

    pub(crate) fn events(&self) -> u32 {
        self.events
    }

    pub(crate) fn sends(&mut self, events: u32, bytes: usize) {
        self.metrics.0.delivered.add(events, bytes);
        self.events = self.events.saturating_add(events);
    }

    pub(crate) fn end(&self) -> EndReason {
        self.end
    }

    /// The stream is delivered by another path than it was opened for.
    pub(crate) fn moves_to(&mut self, path: DeliveryPath) {
        self.metrics.moved(self.path, path);
        self.path = path;
    }

    /// Sets the end reason; without it, the client left.
    pub(crate) fn ends(&mut self, end: EndReason) {
        self.end = end;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.closed(self.path, self.end);
    }
}
