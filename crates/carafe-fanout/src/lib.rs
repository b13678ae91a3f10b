//! Takes one event to very many sockets.
//!
//! A shard is one thread with its own poller, and the only writer to its sockets. A subscriber
//! costs a socket and a place in the hub's [`Dispatcher`](carafe_hub::Dispatcher), which says what
//! each is sent next: there is no task, queue, lock or allocation for a delivery. The sockets are
//! those of HTTP/1.1 connections whose response head has been sent, and which have a body in
//! chunks.

mod clients;
mod clock;
mod closing_sockets;
mod end_reason;
mod hangup_poller;
mod heartbeats;
mod options;
mod poll_waker;
mod pollers;
mod send_buffer;
mod shard;
mod shard_inbox;
mod shard_pool;
mod socket;

pub use end_reason::EndReason;
pub use options::ShardOptions;
pub use send_buffer::{CatchUp, SendBuffer, SendBuffers};
pub use shard_inbox::{NewStream, StreamObserver};
pub use shard_pool::ShardPool;
