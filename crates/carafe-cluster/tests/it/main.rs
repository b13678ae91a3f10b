//! The engine of a cluster on servers of NATS.

#![allow(clippy::unwrap_used, reason = "a failed expectation fails the test")]

mod contract;
mod failures;
mod late;
mod permissions;
mod servers;
mod setup;
mod signing_in;
