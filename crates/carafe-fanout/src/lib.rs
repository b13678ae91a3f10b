//! Takes one event to very many sockets.
//!
//! A shard is one thread with its own poller, and the only writer to its sockets. A subscriber
//! costs a socket and a place in the hub's [`Dispatcher`](carafe_hub::Dispatcher), which says what
//! each is sent next: there is no task, queue, lock or allocation for a delivery. The sockets are
//! those of HTTP/1.1 connections whose response head has been sent, and which have a body in
//! chunks.

mod beats;
mod bell;
mod clients;
mod clock;
mod closing;
mod inbox;
mod leaves;
mod options;
mod send_buffer;
mod shard;
mod shard_pool;
mod socket;
mod watch;

pub use inbox::{Ended, NewStream, StreamObserver};
pub use options::ShardOptions;
pub use send_buffer::{CatchUp, SendBuffer, SendBuffers};
pub use shard_pool::ShardPool;
