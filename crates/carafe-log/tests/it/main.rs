//! The crate's tests from outside.

// Makes helpers count as tests, which may unwrap.
#![cfg(test)]

mod concurrency;
mod contract;
mod crash;
mod disk;
mod factory;
mod faults;
mod folder;
mod formats;
mod keys;
mod memory;
mod model;
mod panics;
mod patterns;
mod repair;
mod sim;
mod sizes;
mod survival;
mod time;
