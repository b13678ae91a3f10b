//! Accepts connections, speaks TLS, detects stalled clients, hands sockets to shards, and drains. It
//! knows no endpoint.

pub(crate) mod conformance;
pub(crate) mod frame_guard;
pub(crate) mod handoff;
pub(crate) mod handoff_socket;
pub(crate) mod http2_frames;
pub(crate) mod idle;
pub(crate) mod lazy_socket;
pub(crate) mod listener;
pub(crate) mod serve;
pub(crate) mod stall;
pub(crate) mod stream_head;
pub(crate) mod tls;
pub(crate) mod watched_socket;
