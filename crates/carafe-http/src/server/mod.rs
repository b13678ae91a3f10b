//! Accepts connections, speaks TLS, detects stalled clients, hands sockets to shards, and drains. It
//! knows no endpoint.

pub(crate) mod conformance;
#[cfg(feature = "server")]
pub(crate) mod frame_guard;
pub(crate) mod handoff;
#[cfg(feature = "server")]
pub(crate) mod handoff_socket;
#[cfg(feature = "server")]
pub(crate) mod http2_frames;
pub(crate) mod idle;
#[cfg(feature = "server")]
pub(crate) mod lazy_socket;
#[cfg(feature = "server")]
pub(crate) mod listener;
#[cfg(feature = "server")]
pub(crate) mod serve;
pub(crate) mod stall;
pub(crate) mod stream_head;
#[cfg(feature = "server")]
pub(crate) mod tls;
#[cfg(feature = "server")]
pub(crate) mod watched_socket;
