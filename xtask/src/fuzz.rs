//! `cargo xtask fuzz`, on stable Rust.

use std::fs;

use crate::step::Step;
use crate::tool::Tool;

/// The fuzz targets.
const TARGETS: [&str; 10] = [
    "batch",
    "commit",
    "decoder",
    "form",
    "ingest",
    "last-event-id",
    "query",
    "records",
    "template",
    "token",
];

/// Inputs that the fuzzer finds. Those worth keeping are moved to `fuzz/corpus` by hand.
const FOUND: &str = "fuzz/target/corpus";

/// The longest input, which is enough to exceed the limits of the parsers.
const MAX_LENGTH: u32 = 8192;

const CARGO_FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2" };

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Target to fuzz [default: all]
    #[arg(value_parser = TARGETS)]
    target: Option<String>,
    /// Seconds per target
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Without a sanitizer, which needs nightly Rust; the fuzzed code has no `unsafe`.
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
        format!("{found} fuzz/corpus/{target} -- -max_total_time={seconds} -max_len={MAX_LENGTH}");
    Step::new("fuzz", &format!("{program} run --sanitizer none {target} {arguments}")).run()
}
