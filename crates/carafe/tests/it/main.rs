//! The program and its examples as users meet them: real processes, real sockets, real clients.

// Makes helpers count as tests, which may unwrap.
#![cfg(test)]

mod access;
mod certificate;
mod cli;
mod clients;
mod console;
mod counter;
mod crashes;
mod drain;
mod durable;
mod espresso;
mod http;
mod http_api;
mod mercure;
mod process;
mod proxies;
mod proxy;
mod refusals;
mod resume;
mod smuggling;
mod tls;
