//! The crate's tests from outside, without sockets and with time that stands still unless it is waited for.

// Makes helpers count as tests, which may unwrap.
#![cfg(test)]

mod any_token;
mod event_stream;
mod keys;
mod limits;
mod router;
mod token_corpus;
