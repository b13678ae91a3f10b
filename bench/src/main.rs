//! Measures the log on disk: `cargo xtask bench durable` and `cargo xtask bench replay`.
//!
//! Every figure is a ratio of two things that were measured in turns, in one run on one disk: machines are noisy, ratios
//! less so. A figure that is missed is told, and is no failure.

mod bare;
mod batches;
mod figure;
mod idle;
mod many_publishers;
mod one_publisher;
mod one_topic;
mod segment;
mod turns;
mod workload;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tempfile::TempDir;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Measures Carafe's log on disk
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
enum Bench {
    /// What it costs to store events durably
    Durable(Options),
    /// How fast history is read, and what a long one costs
    Replay(ReplayOptions),
    /// Append small entries until killed
    #[command(hide = true)]
    Fill { folder: PathBuf },
    /// Open a log and tell what that took
    #[command(hide = true)]
    Open { folder: PathBuf },
}

#[derive(clap::Args)]
struct Options {
    /// The folder whose disk is measured; what is written there is removed again
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// How often the two sides of a figure take turns
    #[arg(long, default_value_t = 21)]
    rounds: usize,
}

#[derive(clap::Args)]
struct ReplayOptions {
    #[command(flatten)]
    options: Options,
    /// Entries of the log that lies idle
    #[arg(long, default_value_t = 10_000_000)]
    entries: u64,
}

fn main() -> ExitCode {
    let outcome = match Bench::parse() {
        Bench::Durable(options) => durable(&options),
        Bench::Replay(options) => replay(&options),
        Bench::Fill { folder } => idle::fill(&folder),
        Bench::Open { folder } => idle::open(&folder),
    };
    let Err(failure) = outcome else {
        return ExitCode::SUCCESS;
    };
    eprintln!("bench: {failure}");
    ExitCode::FAILURE
}

fn durable(options: &Options) -> Outcome {
    one_publisher::measure(options.folder()?.path(), options.rounds)?;
    many_publishers::measure(options.folder()?.path(), options.rounds)?;
    batches::measure(options.folder()?.path(), options.rounds)
}

fn replay(ReplayOptions { options, entries }: &ReplayOptions) -> Outcome {
    one_topic::measure(options.folder()?.path(), options.rounds)?;
    idle::measure(options.folder()?.path(), *entries)
}

impl Options {
    /// An empty folder on the disk, removed when dropped.
    fn folder(&self) -> Outcome<TempDir> {
        fs::create_dir_all(&self.dir)?;
        Ok(tempfile::tempdir_in(&self.dir)?)
    }
}
