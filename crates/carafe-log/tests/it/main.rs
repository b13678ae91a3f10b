//! The crate's tests from outside.

// Makes helpers count as tests, which may unwrap.
#![cfg(test)]

mod contract;
mod factory;
mod memory;
mod model;
