//! The hub's own counts as metrics, read when they are scraped.

use std::fmt;
use std::time::SystemTime;

use carafe_hub::{Hub, HubCounts};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

pub(crate) fn register(registry: &mut Registry, hub: Hub) {
    registry.register_collector(Box::new(OfHub(hub)));
}

struct OfHub(Hub);

impl fmt::Debug for OfHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OfHub")
    }
}

impl Collector for OfHub {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let HubCounts { span, .. } = self.0.counts();
        for (name, help, value) in counters(&self.0.counts()) {
            write(&mut encoder, name, help, &ConstCounter::new(value))?;
        }
        for (name, help, value) in gauges(&self.0) {
            write(&mut encoder, name, help, &ConstGauge::new(value))?;
        }
        if let Some(disk) = self.0.disk_usage() {
            let help = "Bytes of the log on disk";
            write(&mut encoder, "carafe_log_bytes", help, &ConstGauge::new(signed(disk.bytes)))?;
            let (help, segments) = ("Segments of the log on disk", signed(disk.segments));
            write(&mut encoder, "carafe_log_segments", help, &ConstGauge::new(segments))?;
            self.write_erasures(&mut encoder)?;
        }
        let Some(oldest) = span.oldest else { return Ok(()) };
        let help = "Offset of the oldest event in history";
        write(
            &mut encoder,
            "carafe_history_oldest_offset",
            help,
            &ConstGauge::new(signed(oldest.offset)),
        )
    }
}

impl OfHub {
    fn write_erasures(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let waiting = self.0.waiting_erasures();
        let (help, count) =
            ("Erasures whose events may still be on the disk", signed(waiting.count));
        write(encoder, "carafe_erasures_waiting", help, &ConstGauge::new(count))?;
        let age = waiting.since.and_then(|since| SystemTime::now().duration_since(since).ok());
        let (help, age) =
            ("Seconds since the oldest of these", signed(age.unwrap_or_default().as_secs()));
        write(encoder, "carafe_erasures_waiting_seconds", help, &ConstGauge::new(age))
    }
}

type Sample<V> = (&'static str, &'static str, V);

fn counters(counts: &HubCounts) -> [Sample<u64>; 5] {
    [
        ("carafe_events_published", "Events that were stored", counts.published),
        (
            "carafe_published_bytes",
            "Bytes of data in the events that were stored",
            counts.published_bytes,
        ),
        (
            "carafe_publications_repeated",
            "Publications that were not stored, since their idempotency key was known",
            counts.repeated,
        ),
        ("carafe_gaps", "Gaps in history that were reported to subscribers", counts.gaps),
        (
            "carafe_replays_waited",
            "How often a stream had to wait for its turn to read the log",
            counts.replays_waited,
        ),
    ]
}

fn gauges(hub: &Hub) -> [Sample<i64>; 5] {
    let counts = hub.counts();
    [
        (
            "carafe_subscriptions",
            "Open subscriptions, those within the process too",
            signed(counts.subscriptions),
        ),
        ("carafe_replays", "Streams that read the log now", signed(counts.replays)),
        (
            "carafe_replays_waiting",
            "Streams that wait for their turn to read the log",
            signed(counts.replays_waiting),
        ),
        (
            "carafe_history_newest_offset",
            "Offset of the newest event",
            signed(counts.span.tail.offset),
        ),
        ("carafe_draining", "Whether the hub is shutting down", i64::from(hub.is_draining())),
    ]
}

pub(crate) fn signed(count: impl TryInto<i64>) -> i64 {
    // Gauges are signed in the text format; no count comes near the limit.
    count.try_into().unwrap_or(i64::MAX)
}

pub(crate) fn write(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}
