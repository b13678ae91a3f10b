//! Fuzzes the query of `/events`. As `decoder`, with the corpus `query`.

#![no_main]

#[path = "../../crates/carafe-http/tests/it/any_query.rs"]
mod any_query;
#[path = "../../crates/carafe-http/tests/it/asking.rs"]
mod asking;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    any_query::any_query_is_understood_or_refused(input);
});
