//! Fuzzes URI Templates: what one expands to matches it. As `decoder`, with the corpus `template`.

#![no_main]

#[path = "../../crates/carafe-protocol/tests/it/expander.rs"]
mod expander;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    expander::what_expands_matches(input);
});
