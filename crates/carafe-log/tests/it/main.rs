//! The crate's tests from outside.

// Makes helpers count as tests, which may unwrap.
#![cfg(test)]

mod answering;
mod any_commit;
mod commits;
mod compact;
mod concurrency;
mod crash;
mod disk;
mod ends;
mod erase;
mod faults;
mod folder;
mod formats;
mod going_back;
mod keys;
mod memory;
mod noted;
mod ordered_alike;
mod panics;
mod repair;
mod replacing;
mod sim;
mod sizes;
mod supplied;
mod supplied_time;
mod survival;
mod time;
