//! The fuzzing of the decoder, on stable Rust.

use std::fs;

use crate::step::Step;
use crate::tool::Tool;

/// What the fuzzer finds goes here; a stream worth keeping moves to the corpus by hand.
const FOUND: &str = "fuzz/target/corpus";

const CARGO_FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2" };

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long to try
    #[arg(default_value_t = 60)]
    seconds: u32,
}

/// The sanitizer needs nightly Rust; the decoder has no `unsafe` that it could watch.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    if !CARGO_FUZZ.is_here() {
        CARGO_FUZZ.install()?;
    }
    fs::create_dir_all(FOUND).map_err(|error| format!("{FOUND}: {error}"))?;
    let (program, seconds) = (CARGO_FUZZ.program(), options.seconds);
    let arguments = format!("{FOUND} fuzz/corpus/decoder -- -max_total_time={seconds}");
    Step::new("fuzz", &format!("{program} run --sanitizer none decoder {arguments}")).run()
}
