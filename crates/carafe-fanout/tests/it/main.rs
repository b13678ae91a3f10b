//! Shards and their sockets, without HTTP.

// Makes helpers count as tests, which may unwrap.
#![cfg(test)]

mod ends;
