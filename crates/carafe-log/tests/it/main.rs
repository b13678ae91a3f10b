//! The crate's tests from outside.

// Makes helpers count as tests, which may unwrap.
#![cfg(test)]

mod answering;
mod compact;
mod concurrency;
mod crash;
mod disk;
mod ends;
mod erase;
mod faults;
mod folder;
mod formats;
mod keys;
mod memory;
mod panics;
mod repair;
mod replacing;
mod sim;
mod sizes;
mod survival;
mod time;
