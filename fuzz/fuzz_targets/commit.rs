//! Fuzzes the payload of commits, which a node reads from what orders them. As `decoder`, with the
//! corpus `commit`.

#![no_main]

#[path = "../../crates/carafe-log/tests/it/any_commit.rs"]
mod any_commit;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    any_commit::any_payload_is_decoded_or_refused(input);
});
