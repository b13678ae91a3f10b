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
//!
//! Shards need Unix. They are tested on Linux, and carafe-http runs them only there.

#![cfg_attr(not(unix), allow(dead_code, reason = "there are no shards"))]

mod catch_up;
#[cfg(unix)]
mod clients;
#[cfg(unix)]
mod clock;
#[cfg(unix)]
mod closing_sockets;
#[cfg(not(unix))]
mod elsewhere;
#[cfg(unix)]
mod encrypted;
mod end_reason;
#[cfg(unix)]
mod hangup_poller;
#[cfg(unix)]
mod heartbeats;
#[cfg(unix)]
mod helper;
mod options;
#[cfg(unix)]
mod pollers;
mod record_layer;
#[cfg(unix)]
mod requested_heartbeats;
#[cfg(unix)]
mod review;
#[cfg(unix)]
mod send_buffer;
#[cfg(unix)]
mod shard;
#[cfg(unix)]
mod shard_inbox;
#[cfg(unix)]
mod shard_pool;
#[cfg(unix)]
mod shard_waker;
#[cfg(unix)]
mod socket;
mod stream;
#[cfg(unix)]
mod transport;
#[cfg(unix)]
mod turns;

pub use catch_up::CatchUp;
#[cfg(not(unix))]
pub use elsewhere::{ShardPool, Transport};
pub use end_reason::EndReason;
#[cfg(unix)]
pub use helper::ShardHelper;
pub use options::ShardOptions;
pub use record_layer::{Exhausted, RecordLayer};
#[cfg(unix)]
pub use send_buffer::{SendBuffer, SendBuffers};
#[cfg(unix)]
pub use shard_pool::ShardPool;
pub use stream::{NewStream, StreamObserver};
#[cfg(unix)]
pub use transport::Transport;
