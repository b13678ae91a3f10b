//! The crate's tests from outside, against a server that plays a script.

// Makes helpers count as tests, which may unwrap.
#![cfg(test)]

mod controls;
mod event_source;
mod fake_hub;
mod feed;
mod positions;
mod publisher;
mod redirects;
mod requests;
mod script;
mod source;
mod states;
