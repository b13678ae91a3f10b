//! Fuzzes batches of events. As `decoder`, with the corpus `batch`.

#![no_main]

#[path = "../../crates/carafe-http/tests/it/any_batch.rs"]
mod any_batch;
#[path = "../../crates/carafe-http/tests/it/asking.rs"]
mod asking;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    any_batch::any_batch_is_stored_whole_or_not_at_all(input);
});
