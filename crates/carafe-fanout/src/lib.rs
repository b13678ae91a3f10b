//! Takes one event to very many sockets.
//!
//! A shard is one thread with its own poller, and the only writer to its sockets. A subscriber costs a socket and a place in
//! the hub's [`Outlet`](carafe_hub::Outlet), which says what each is sent next: there is no task, queue, lock or allocation
//! for a delivery. The sockets are those of HTTP/1.1 connections whose response head has been sent, and which have a body in
//! chunks.

mod beats;
mod bell;
mod clients;
mod clock;
mod closing;
mod fanout;
mod inbox;
mod leaves;
mod options;
mod send_buffer;
mod shard;
mod socket;
mod watch;

pub use fanout::Fanout;
pub use inbox::{Ended, Guest, Joining};
pub use options::FanoutOptions;
pub use send_buffer::{CatchUp, SendBuffer, SendBuffers};
