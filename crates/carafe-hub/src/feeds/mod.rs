//! The entries that this node has read, and which subscriptions want them.
//!
//! [`core`] puts the parts together: the ring of recent entries, the feeds that index it, and the
//! access of each subscription. Everything here is a state machine under the hub's lock, without
//! I/O and clock; it knows no stream and no dispatcher.

pub(crate) mod backfill;
pub(crate) mod complex_patterns;
pub(crate) mod core;
pub(crate) mod feed_subscribers;
pub(crate) mod feed_table;
pub(crate) mod interest;
pub(crate) mod pattern_budgets;
pub(crate) mod patterns;
pub(crate) mod ring;
