//! `cargo xtask hostile`: all attacks at once, on a release build.

use std::ffi::{OsStr, OsString};

use crate::bench::build_carafe;
use crate::step::Step;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Attacks [default: all], and options; add `--help` to list them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    build_carafe()?;
    let step = Step::new(
        "hostile",
        "cargo run --quiet --release -p carafe-bench --features measure -- hostile",
    );
    options.rest.iter().map(OsStr::new).fold(step, Step::arg).run()
}
