//! The tail of the engine, into the log of the node.

mod backoff;
mod replicator;
mod round;

pub(crate) use backoff::Backoff;
pub(crate) use replicator::Replicator;
