//! Delivers the events of a [hub](carafe_hub) to very many sockets.
//!
//! A [`ShardPool`] has a few shards. A shard is the only writer to its sockets. It has a thread
//! with its own poller, and a [`ShardHelper`] that delivers to few subscribers without waking the
//! thread. The hub's [`Dispatcher`](carafe_hub::Dispatcher) decides what each subscriber is sent
//! next. So a subscriber takes a socket and an entry in two tables, and a delivery takes one system
//! call: no task, queue or allocation.
//!
//! A shard takes sockets of HTTP/1.1 connections after the response head has been sent; the body is
//! chunked. This crate knows nothing else of HTTP, and of TLS only a [`RecordLayer`].

mod catch_up;
mod clients;
mod clock;
mod closing_sockets;
mod encrypted;
mod end_reason;
mod hangup_poller;
mod heartbeats;
mod helper;
mod options;
mod pollers;
mod record_layer;
mod requested_heartbeats;
mod send_buffer;
mod shard;
mod shard_inbox;
mod shard_pool;
mod shard_waker;
mod socket;
mod stream;
mod transport;
mod turns;

pub use catch_up::CatchUp;
pub use end_reason::EndReason;
pub use helper::ShardHelper;
pub use options::ShardOptions;
pub use record_layer::{Exhausted, RecordLayer};
pub use send_buffer::{SendBuffer, SendBuffers};
pub use shard_pool::ShardPool;
pub use stream::{NewStream, StreamObserver};
pub use transport::Transport;
