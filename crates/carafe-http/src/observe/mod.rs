//! What the server tells about itself: metrics, the identity of each stream, and log lines.
//!
//! It knows the limits of `policy`, and neither sockets nor endpoints.

pub(crate) mod audience;
pub(crate) mod delivered;
pub(crate) mod endpoint;
pub(crate) mod figures;
pub(crate) mod hub_metrics;
pub(crate) mod log_interval;
pub(crate) mod metrics;
pub(crate) mod process_metrics;
pub(crate) mod stream_record;
pub(crate) mod stream_request;
