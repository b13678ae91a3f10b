//! Accepts connections and serves an app on them: TLS, HTTP, stall detection, the handoff of
//! sockets to shards, and draining.
//!
//! It knows no endpoint: an app is any router, and a stream whatever body offers itself for a
//! handoff. One task serves each connection.

#![cfg_attr(
    not(feature = "server"),
    allow(dead_code, reason = "streams offer themselves to a server that is not there")
)]

#[cfg(feature = "server")]
pub(crate) mod acceptor;
#[cfg(feature = "server")]
pub(crate) mod answer_batch;
pub(crate) mod conformance;
#[cfg(feature = "server")]
pub(crate) mod connection;
#[cfg(feature = "server")]
pub(crate) mod descriptors;
#[cfg(feature = "server")]
pub(crate) mod drain;
#[cfg(feature = "server")]
pub(crate) mod flush_delay;
#[cfg(feature = "server")]
mod frame_guard;
pub(crate) mod handoff;
#[cfg(feature = "server")]
pub(crate) mod handoff_socket;
#[cfg(feature = "server")]
pub(crate) mod http2_frames;
pub(crate) mod idle;
#[cfg(feature = "server")]
pub(crate) mod kernel_tls;
#[cfg(feature = "server")]
mod lazy_socket;
#[cfg(feature = "server")]
pub(crate) mod listener;
#[cfg(feature = "server")]
pub(crate) mod options;
#[cfg(feature = "server")]
pub(crate) mod protocol;
#[cfg(feature = "server")]
pub(crate) mod serve;
#[cfg(feature = "server")]
pub(crate) mod service;
pub(crate) mod stall;
pub(crate) mod stream_head;
#[cfg(feature = "server")]
pub(crate) mod tls;
#[cfg(feature = "server")]
pub(crate) mod tls_connection;
#[cfg(feature = "server")]
pub(crate) mod tls_keys;
#[cfg(feature = "server")]
pub(crate) mod tls_socket;
#[cfg(test)]
#[cfg(feature = "server")]
mod tls_tests;
#[cfg(feature = "server")]
pub(crate) mod watched_socket;
