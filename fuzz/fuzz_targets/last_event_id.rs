//! Fuzzes the last event ID. As `decoder`, with the corpus `last-event-id`.

#![no_main]

#[path = "../../crates/carafe-http/tests/it/any_position.rs"]
mod any_position;
#[path = "../../crates/carafe-http/tests/it/asking.rs"]
mod asking;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    any_position::any_last_event_id_is_found_or_reported(input);
});
