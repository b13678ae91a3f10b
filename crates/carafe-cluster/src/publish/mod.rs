//! What the publishers of a node publish, into the engine.

mod outbox;
mod publisher;

pub(crate) use outbox::{Answer, Outbox};
pub(crate) use publisher::Publisher;
