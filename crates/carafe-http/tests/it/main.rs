//! Tests of the public API: without sockets where possible, and with paused time.

// Clippy lets only tests unwrap: this makes the helpers part of them.
#![cfg(test)]

mod any_batch;
mod any_form;
mod any_ingest;
mod any_position;
mod any_query;
mod any_records;
mod any_token;
mod app_rights;
mod asking;
mod behind;
mod bodies;
mod corpora;
mod drain;
mod event_stream;
mod grant_table;
mod http2_floods;
mod ingest;
mod keys;
mod leaks;
mod leaving;
mod limits;
#[path = "../../../carafe-hub/tests/it/oracle.rs"]
mod oracle;
mod pages;
mod random_records;
mod readiness;
mod revocations;
mod router;
mod slow_log;
mod stream_log;
mod subscribers;
mod write_timeout;
