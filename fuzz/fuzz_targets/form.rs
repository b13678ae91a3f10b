//! Fuzzes the forms of Mercure. As `decoder`, with the corpus `form`.

#![no_main]

#[path = "../../crates/carafe-http/tests/it/any_form.rs"]
mod any_form;
#[path = "../../crates/carafe-http/tests/it/asking.rs"]
mod asking;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    any_form::any_form_is_stored_or_refused(input);
});
