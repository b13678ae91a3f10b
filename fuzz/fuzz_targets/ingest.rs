//! Fuzzes bodies whose events are stored as they arrive. As `decoder`, with the corpus `ingest`.

#![no_main]

#[path = "../../crates/carafe-http/tests/it/any_ingest.rs"]
mod any_ingest;
#[path = "../../crates/carafe-http/tests/it/asking.rs"]
mod asking;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    any_ingest::any_body_is_ingested_alike_however_it_is_split(input);
});
