//! Metrics, the identity of open streams, and the rate of repeated log lines.

pub(crate) mod hub_metrics;
pub(crate) mod metrics;
pub(crate) mod process_metrics;
pub(crate) mod seldom;
pub(crate) mod stream_record;
