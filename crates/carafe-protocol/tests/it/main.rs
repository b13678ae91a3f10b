//! The crate's tests from outside.

mod any_split;
mod decoder;
mod decoder_corpus;
mod decoder_limit;
mod expander;
mod round_trip;
mod template;
