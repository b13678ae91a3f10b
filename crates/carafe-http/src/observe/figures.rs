//! Figures that a program adds to the metrics of its hub.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::observe::hub_metrics::write;

/// A figure that a program adds to the metrics.
///
/// ```
/// use carafe_http::{Figure, Options};
///
/// let options = Options::default();
/// options.metrics.add_figures(|| {
///     vec![
///         Figure::counter("app_orders", "Orders that were taken", 42),
///         Figure::gauge("app_queue_seconds", "Age of the oldest order in the queue", 0.5),
///     ]
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    name: &'static str,
    help: &'static str,
    value: Value,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Counter(u64),
    Gauge(f64),
}

impl Figure {
    /// A number that only grows. `_total` is appended to its name.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, value: Value::Counter(value) }
    }

    /// A number that grows and shrinks.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, value: Value::Gauge(value) }
    }
}

type Source = Arc<dyn Fn() -> Vec<Figure> + Send + Sync>;

/// The functions that are called for their figures at each scrape.
#[derive(Clone, Default)]
pub(crate) struct Sources(Arc<Mutex<Vec<Source>>>);

impl Sources {
    pub(crate) fn add(&self, source: impl Fn() -> Vec<Figure> + Send + Sync + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(source));
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }
}

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Not under the lock: a source may take its time.
        let sources = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut figures = sources.iter().flat_map(|source| source());
        figures.try_for_each(|Figure { name, help, value }| match value {
            Value::Counter(value) => write(&mut encoder, name, help, &ConstCounter::new(value)),
            Value::Gauge(value) => write(&mut encoder, name, help, &ConstGauge::new(value)),
        })
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources")
    }
}
