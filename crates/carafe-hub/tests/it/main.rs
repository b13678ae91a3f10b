//! Tests of the public API.

// Makes helpers count as tests, which may unwrap.
#![cfg(test)]

mod account;
mod behind;
mod client;
mod contract;
mod delivery;
mod dispatcher;
mod drain;
mod ends;
mod erasing;
mod fixture;
mod gaps;
mod ids;
mod lagging;
mod latest;
mod leaks;
mod limits;
mod listener;
mod model;
mod oracle;
mod page_histories;
mod pages;
mod positions;
mod replay_permits;
mod reserved;
mod retention;
mod script;
mod spy;
mod subscribe;
mod subscribers;
mod threads;
