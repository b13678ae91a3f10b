//! The program as users meet them: real processes, real sockets, real clients.

// Makes helpers count as tests, which may unwrap.
#![cfg(test)]

use carafe_testing::{clients, http};

mod access;
mod base_path;
mod bench;
mod bodies;
mod certificate;
mod cli;
mod client_matrix;
mod cluster;
mod command_line;
mod conformance;
mod connections;
mod console;
mod contract;
mod cors;
mod crashes;
mod decoders;
mod delivery_paths;
mod descriptors;
mod drain;
mod durable;
mod ending_topics;
mod erased_topics;
mod erasure;
mod examples;
mod fed_topics;
mod healthcheck;
mod http_api;
mod ingest;
mod latest;
mod limits;
mod listening;
mod memory;
mod mercure;
mod metrics;
mod overload;
mod pages;
mod pressure;
mod process;
mod proxies;
mod proxy;
mod publish_retries;
mod refusals;
mod reload;
mod resume;
mod revocation;
mod rust_client;
mod rust_guide;
mod sdk_decoders;
mod security;
mod service_manager;
mod smuggling;
mod subscribe_command;
mod systemd_unit;
mod takeover;
mod tls;
mod tls_clients;
mod tls_streams;
mod topic_ends;
mod writes;
