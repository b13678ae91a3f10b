//! The crate's tests from outside, against a server that plays a script.

// Makes helpers count as tests, which may unwrap.
#![cfg(test)]

mod event_source;
mod publisher;
mod script;
