//! Fuzzes the decoder of event streams. On stable Rust, from the repository's root:
//!
//! ```sh
//! cargo install cargo-fuzz
//! mkdir -p fuzz/target/corpus/decoder
//! cargo fuzz run --sanitizer none decoder fuzz/target/corpus/decoder fuzz/corpus/decoder -- -max_total_time=60
//! ```
//!
//! What the fuzzer finds goes to the first folder; a stream worth keeping moves to the second under
//! a name that says what it shows, and then runs with the ordinary tests.

#![no_main]

#[path = "../../crates/carafe-protocol/tests/it/any_split.rs"]
mod any_split;

libfuzzer_sys::fuzz_target!(|stream: &[u8]| any_split::decoder_follows_the_standard(stream));
