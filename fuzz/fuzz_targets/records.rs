//! Fuzzes what a TLS client sends on its stream. As `decoder`, with the corpus `records`.

#![no_main]

#[path = "../../crates/carafe-http/tests/it/any_records.rs"]
mod any_records;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    any_records::any_records_end_their_own_stream_only(input);
});
