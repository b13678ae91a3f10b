//! The program and its examples as users meet them: real processes, real sockets, real clients.

// Makes helpers count as tests, which may unwrap.
#![cfg(test)]

mod access;
mod bench;
mod bodies;
mod certificate;
mod cli;
mod clients;
mod conformance;
mod connections;
mod console;
mod cors;
mod counter;
mod crashes;
mod descriptors;
mod drain;
mod durable;
mod espresso;
mod http;
mod http_api;
mod limits;
mod memory;
mod mercure;
mod metrics;
mod mounted;
mod overload;
mod pressure;
mod process;
mod proxies;
mod proxy;
mod refusals;
mod reload;
mod resume;
mod security;
mod smuggling;
mod takeover;
mod tls;
mod ways;
mod writes;
