//! The library and its examples as users meet them: real sockets, real clients.

// Makes helpers count as tests, which may unwrap.
#![cfg(test)]

use carafe_testing::{clients, http, process};

mod answers;
mod counter;
mod espresso;
mod mounted;
mod sessions;
