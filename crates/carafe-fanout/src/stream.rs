//! A stream as it is passed to a shard.

use std::time::Instant;

use carafe_hub::{Client, Frames};

use crate::end_reason::EndReason;

/// A stream whose response head has been sent.
pub struct NewStream<G> {
    /// The bytes to send.
    pub frames: Frames,
    /// When the stream expires.
    pub until: Option<Instant>,
    /// Learns what is sent, and why the stream ends.
    pub observer: G,
}

/// What is kept with a stream as long as it is open.
///
/// The shard calls it between two system calls, on its thread or on that of its helper: it must not
/// block.
pub trait StreamObserver: Send + 'static {
    /// The stream has ended.
    fn ended(self, reason: EndReason);

    /// The kernel has taken so many bytes of the stream, and with them the last byte of so many
    /// events.
    fn sent(&mut self, bytes: usize, events: u32) {
        let _ = (bytes, events);
    }

    /// Whether the stream has to end although its time is not over, as when its token was revoked.
    /// Asked when the stream is added, and at each [review](crate::ShardPool::review). The client
    /// receives what it would when the stream expires.
    fn is_revoked(&self) -> bool {
        false
    }

    /// The client that the hub's limits count, if it is known.
    fn client(&self) -> Option<Client> {
        None
    }
}
