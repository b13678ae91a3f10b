//! What the integration tests of several crates share: raw HTTP, child processes, the clients that
//! users read streams with, and servers of NATS.
//!
//! Tests only: helpers panic with a message when an expectation is not met.

#![allow(missing_docs, reason = "test helpers")]
#![allow(clippy::unwrap_used, reason = "a failed expectation fails the test")]

pub mod clients;
pub mod http;
pub mod nats;
pub mod process;
