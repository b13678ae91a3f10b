//! The options of `cargo xtask bench catch-up`.

use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often the servers take turns
    #[arg(long, default_value_t = 7)]
    pub(super) rounds: usize,
    /// Measure a tenth, once: to see that it runs
    #[arg(long)]
    pub(super) quick: bool,
    /// Fail if an aim is missed
    #[arg(long)]
    pub(super) check: bool,
    /// Write the part of bench/RESULTS.md, and bench/catch-up.svg
    #[arg(long)]
    pub(super) write: bool,
    /// The program to measure
    #[arg(long)]
    pub(super) carafe: Option<PathBuf>,
    /// Measure on the current network, and print the figures as JSON
    #[arg(long, hide = true)]
    pub(super) here: bool,
}
