//! The measurements of `cargo xtask bench`: `durable` and `replay` measure the log on disk,
//! `fanout`, `events`, `million` and `storm` the hub, `cluster` several hubs, and `shape` cost
//! against size.
//!
//! Each figure is a ratio of two things that are measured alternately, in one run on one disk:
//! ratios vary less than absolute figures. A missed target is reported; it is a failure only with
//! `--check`.

mod attack;
mod axum_peer;
mod bare;
mod bare_http;
mod batches;
mod bench;
mod catch_up;
mod certificate;
mod child;
mod churned;
mod cluster;
mod contest;
mod curves;
mod deliveries;
mod document;
mod driver;
mod events;
mod fanout;
mod figure;
mod filling;
mod floor;
mod go_peers;
mod handshakes;
mod honest;
mod hostile;
mod idle;
mod ingest;
mod latest;
mod many_publishers;
mod million;
mod nginx;
mod noise;
mod one_publisher;
mod one_topic;
mod outcome;
mod parts;
mod plot;
mod results;
mod section;
mod segment;
mod series;
mod server;
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
    /// Measure the cost of storing events durably
    Durable(Options),
    /// Measure how fast history is read, and the cost of a long history
    Replay(ReplayOptions),
    /// Measure delivery to many subscribers, compared with plain writes and with other servers
    #[command(mut_arg("write", |arg| {
        arg.help("Write the results to bench/RESULTS.md and bench/results.svg")
    }))]
    Fanout(fanout::Options),
    /// Measure the price of one event, with few subscribers and many publishers
    #[command(mut_arg("write", |arg| {
        arg.help("Write the results to bench/RESULTS.md and bench/events.svg")
    }))]
    Events(events::Options),
    /// Deliver three events to 1,000,000 subscribers on this machine
    Million(million::Options),
    /// Kill a hub with 18,000 clients, and check that all of them resume
    Storm(storm::Options),
    /// Measure how the cost of operations grows with the size of the log
    Shape(shape::Options),
    /// Measure a snapshot of the newest event of each topic, beside reading the whole log
    Latest(latest::Options),
    /// Measure events of one ingest request, beside batches and beside single requests
    Ingest(ingest::Options),
    /// Measure nodes of a cluster, beside the engine alone and beside a hub on one machine
    #[command(mut_arg("rounds", |arg| {
        arg.help("Number of rounds in which the sides alternate").default_value("5")
    }))]
    #[command(mut_arg("write", |arg| {
        arg.help("Write the results to bench/RESULTS.md and bench/cluster.svg")
    }))]
    Cluster(cluster::Options),
    /// Measure how fast clients catch up, directly and through nginx on the same host
    CatchUp(catch_up::Options),
    /// Load a server, as `carafe bench` does
    #[command(hide = true)]
    Load(Box<carafe_bench::Options>),
    /// Publish to the engine of a cluster, without a hub
    #[command(hide = true)]
    EngineLoad(cluster::LoadOptions),
    /// Serve a number of bytes to each connection
    #[command(hide = true)]
    BareLoop { bytes: usize },
    /// Run all attacks on a hub at once, and check that honest clients are not affected
    Hostile(hostile::Options),
    /// Serve event streams with plain writes
    #[command(hide = true)]
    Floor { writes: floor::Writes },
    /// Serve event streams with axum alone
    #[command(hide = true)]
    AxumPeer,
    /// Answer requests with hyper alone
    #[command(hide = true)]
    BareHttp,
    /// Append small entries until killed
    #[command(hide = true)]
    Fill { folder: PathBuf },
    /// Open a log and print the cost
    #[command(hide = true)]
    Open { folder: PathBuf },
    /// Run one attack, and report
    #[command(hide = true)]
    Attack(attack::Options),
    /// Open a log, print the seconds, and close it when standard input ends
    #[command(hide = true)]
    Opened { folder: PathBuf },
}

#[derive(clap::Args)]
struct Options {
    /// Folder on the disk to measure; files are removed afterwards
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// Number of rounds in which the two sides of a figure alternate
    #[arg(long, default_value_t = 21)]
    rounds: usize,
}

#[derive(clap::Args)]
struct ReplayOptions {
    #[command(flatten)]
    options: Options,
    /// Number of entries in the idle log
    #[arg(long, default_value_t = 10_000_000)]
    entries: u64,
}

fn main() -> ExitCode {
    let outcome = match Bench::parse() {
        Bench::Durable(options) => durable(&options),
        Bench::Replay(options) => replay(&options),
        Bench::Fanout(options) => fanout::measure(&options),
        Bench::Events(options) => events::measure(&options),
        Bench::Million(options) => million::measure(&options),
        Bench::Storm(options) => storm::measure(&options),
        Bench::Floor { writes } => floor::serve(writes),
        Bench::AxumPeer => axum_peer::serve(),
        Bench::BareHttp => bare_http::serve(),
        Bench::Fill { folder } => idle::fill(&folder),
        Bench::Open { folder } => idle::open(&folder),
        Bench::Shape(options) => shape::measure(&options),
        Bench::Latest(options) => latest::measure(&options),
        Bench::Ingest(options) => ingest::measure(&options),
        Bench::Cluster(options) => cluster::measure(&options),
        Bench::EngineLoad(options) => cluster::serve_load(&options),
        Bench::CatchUp(options) => catch_up::measure(&options),
        Bench::Load(options) => carafe_bench::run(&options).map_err(Into::into),
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
