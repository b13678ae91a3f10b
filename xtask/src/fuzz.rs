//! The fuzzing, on stable Rust.

use std::fs;

use crate::step::Step;
use crate::tool::Tool;

/// What is fuzzed.
const TARGETS: [&str; 7] =
    ["batch", "decoder", "form", "last-event-id", "query", "template", "token"];

/// What the fuzzer finds goes here; what is worth keeping moves to the corpus by hand.
const FOUND: &str = "fuzz/target/corpus";

/// Bytes that are tried at most: those that limits are met with.
const LONGEST: u32 = 8192;

const CARGO_FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2" };

#[derive(clap::Args)]
pub(crate) struct Options {
    /// What to fuzz [default: everything]
    #[arg(value_parser = TARGETS)]
    target: Option<String>,
    /// How long to try each target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// The sanitizer needs nightly Rust; what is fuzzed has no `unsafe` that it could watch.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    if !CARGO_FUZZ.is_here() {
        CARGO_FUZZ.install()?;
    }
    let wanted = |target: &&str| options.target.as_deref().is_none_or(|only| only == *target);
    TARGETS.into_iter().filter(wanted).try_for_each(|target| fuzz(target, options.seconds))
}

fn fuzz(target: &str, seconds: u32) -> Result<(), String> {
    let found = format!("{FOUND}/{target}");
    fs::create_dir_all(&found).map_err(|error| format!("{found}: {error}"))?;
    let program = CARGO_FUZZ.program();
    let arguments =
        format!("{found} fuzz/corpus/{target} -- -max_total_time={seconds} -max_len={LONGEST}");
    Step::new("fuzz", &format!("{program} run --sanitizer none {target} {arguments}")).run()
}
