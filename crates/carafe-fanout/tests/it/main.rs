//! Shards and their sockets, without HTTP.

// Makes helpers count as tests, which may unwrap.
#![cfg(test)]

mod ends;
// Only Linux tells the sizes that are set.
#[cfg(target_os = "linux")]
mod send_buffers;
