//! The crate's tests from outside, without sockets and with time that stands still unless it is
//! waited for.

// Makes helpers count as tests, which may unwrap.
#![cfg(test)]

mod any_batch;
mod any_form;
mod any_position;
mod any_query;
mod any_token;
mod asking;
mod bodies;
mod corpora;
mod drain;
mod event_stream;
mod http2_floods;
mod keys;
mod leaks;
mod limits;
#[path = "../../../carafe-hub/tests/it/oracle.rs"]
mod oracle;
mod router;
mod write_timeout;
