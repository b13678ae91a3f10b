//! Shards and their sockets, without HTTP.

// Clippy lets only tests unwrap: this makes the helpers part of them.
#![cfg(test)]

mod ends;
mod heartbeats;
mod helpers;
mod revoked;
// Only Linux reports the sizes that are set.
#[cfg(target_os = "linux")]
mod send_buffers;
