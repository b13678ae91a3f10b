//! Delivers the events of a [hub](carafe_hub) to very many sockets.
//!
//! A [`ShardPool`] has a few shards. A shard is one thread with its own poller, and the only writer
//! to its sockets. The hub's [`Dispatcher`](carafe_hub::Dispatcher) decides what each subscriber is
//! sent next. So a subscriber takes a socket and an entry in two tables, and a delivery takes one
//! system call: no task, queue, lock or allocation.
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
mod options;
mod poll_waker;
mod pollers;
mod record_layer;
mod send_buffer;
mod shard;
mod shard_inbox;
mod shard_pool;
mod socket;
mod stream;
mod transport;

pub use catch_up::CatchUp;
pub use end_reason::EndReason;
pub use options::ShardOptions;
pub use record_layer::{Exhausted, RecordLayer};
pub use send_buffer::{SendBuffer, SendBuffers};
pub use shard_pool::ShardPool;
pub use stream::{NewStream, StreamObserver};
pub use transport::Transport;
