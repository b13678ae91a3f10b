//! The measurements of the log on disk.

use std::ffi::OsString;

use crate::step::Step;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// `durable` or `replay`, and its options, such as `--dir PATH` for the disk to measure
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    measurement: Vec<OsString>,
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    let step = Step::new("bench", "cargo run --quiet --release -p carafe-bench --");
    options.measurement.iter().fold(step, Step::arg).run()
}
