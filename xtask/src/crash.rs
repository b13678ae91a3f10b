//! `cargo xtask crash`: kills the hub repeatedly while events are published, topics end, and others
//! are erased.

use crate::step::Step;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Number of times to kill the hub
    #[arg(long, default_value = "100")]
    cycles: u64,
    /// Seed of an earlier run, to repeat it
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs a test of `carafe-cli` with more cycles than ordinary runs.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let test = "nothing_is_lost_doubled_or_out_of_order_when_the_program_is_killed";
    let mut step =
        Step::new("crash", &format!("cargo test -p carafe-cli --test it {test} -- --nocapture"))
            .env("CARAFE_TEST_CYCLES", &options.cycles.to_string());
    if let Some(seed) = options.seed {
        step = step.env("CARAFE_TEST_SEED", &seed.to_string());
    }
    step.run()
}
