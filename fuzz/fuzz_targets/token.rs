//! Fuzzes tokens, and the claims of tokens that are signed. On stable Rust, from the repository's
//! root:
//!
//! ```sh
//! cargo install cargo-fuzz
//! mkdir -p fuzz/target/corpus/token
//! cargo fuzz run --sanitizer none token fuzz/target/corpus/token fuzz/corpus/token -- -max_total_time=60
//! ```
//!
//! What the fuzzer finds goes to the first folder; what is worth keeping moves to the second under
//! a name that says what it shows, and then runs with the ordinary tests.

#![no_main]

#[path = "../../crates/carafe-http/tests/it/any_token.rs"]
mod any_token;

libfuzzer_sys::fuzz_target!(|input: &[u8]| any_token::any_token_is_judged(input));
