//! Measures Carafe: `cargo xtask bench durable` and `replay` its log on disk, `fanout`, `million`
//! and `storm` the hub, and `shape` cost against size.
//!
//! Every figure is a ratio of two things that were measured in turns, in one run on one disk:
//! machines are noisy, ratios less so. A figure that is missed is told, and is no failure unless
//! `--check` asks for one.

mod attack;
mod axum_peer;
mod bare;
mod batches;
mod catch_up;
mod child;
mod curves;
mod document;
mod driver;
mod fanout;
mod figure;
mod filling;
mod floor;
mod honest;
mod hostile;
mod idle;
mod many_publishers;
mod million;
mod noise;
mod one_publisher;
mod one_topic;
mod outcome;
mod plot;
mod results;
mod section;
mod segment;
mod series;
mod shape;
mod storm;
mod subject;
mod svg;
mod turns;
mod usage;
mod wire;
mod workload;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tempfile::TempDir;

use crate::outcome::Outcome;

/// Measures Carafe
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
enum Bench {
    /// What it costs to store events durably
    Durable(Options),
    /// How fast history is read, and what a long one costs
    Replay(ReplayOptions),
    /// What it costs to bring events to very many, beside the floor and beside others
    Fanout(fanout::Options),
    /// Bring three events to 1,000,000 subscribers on this machine
    Million(million::Options),
    /// Kill a hub under 18,000 clients, and see them come back
    Storm(storm::Options),
    /// What operations cost by the size of the log, and with clients that read it
    Shape(shape::Options),
    /// How fast clients catch up, directly and through nginx on the same host
    CatchUp(catch_up::Options),
    /// Serve so many bytes to each connection
    #[command(hide = true)]
    BareLoop { bytes: usize },
    /// Attack a hub that has honest clients, in every way at once
    Hostile(hostile::Options),
    /// Serve event streams with nothing but writes
    #[command(hide = true)]
    Floor { writes: floor::Writes },
    /// Serve event streams as users of axum do
    #[command(hide = true)]
    AxumPeer,
    /// Append small entries until killed
    #[command(hide = true)]
    Fill { folder: PathBuf },
    /// Open a log and tell what that took
    #[command(hide = true)]
    Open { folder: PathBuf },
    /// Attack a hub, and report
    #[command(hide = true)]
    Attack(attack::Options),
    /// Open a log, tell the seconds, and close it when standard input ends
    #[command(hide = true)]
    Opened { folder: PathBuf },
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
        Bench::Fanout(options) => fanout::measure(&options),
        Bench::Million(options) => million::measure(&options),
        Bench::Storm(options) => storm::measure(&options),
        Bench::Floor { writes } => floor::serve(writes),
        Bench::AxumPeer => axum_peer::serve(),
        Bench::Fill { folder } => idle::fill(&folder),
        Bench::Open { folder } => idle::open(&folder),
        Bench::Shape(options) => shape::measure(&options),
        Bench::CatchUp(options) => catch_up::measure(&options),
        Bench::BareLoop { bytes } => catch_up::serve_bare(bytes),
        Bench::Attack(options) => attack::serve(&options),
        Bench::Hostile(options) => hostile::run(&options),
        Bench::Opened { folder } => shape::serve_opened(&folder),
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
