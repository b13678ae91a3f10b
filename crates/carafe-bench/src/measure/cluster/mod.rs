//! Nodes of a cluster, compared with the engine alone and with a hub on one machine.
//!
//! The engine and all nodes share one core, and the load has the other.

mod engine;
mod fanout;
mod latency;
mod load;
mod monitor;
mod nodes;
mod publish;
mod servers;
mod setup;

use std::path::PathBuf;

use clap::ValueEnum;

use crate::bench::Bench;
use crate::child::raise_descriptor_limit;
use crate::document;
use crate::noise::noted;
use crate::outcome::Outcome;
use crate::results::Results;
use crate::section::Section;

pub(crate) use load::{Options as LoadOptions, serve as serve_load};
use setup::Setup;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// What to measure [default: everything]
    parts: Vec<Part>,
    /// Number of rounds in which the sides alternate
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Measure briefly, with a fifth of the connections, as a smoke test
    #[arg(long)]
    quick: bool,
    /// Fail if a target is missed
    #[arg(long)]
    check: bool,
    /// Write the results to bench/RESULTS.md and bench/cluster.svg
    #[arg(long)]
    write: bool,
    /// The program to measure
    #[arg(long)]
    carafe: Option<PathBuf>,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// 256 events in flight, one server of the engine
    Publish,
    /// The same, with a server that syncs each message before it acknowledges it
    PublishSynced,
    /// The same, with three servers and three replicas
    PublishReplicated,
    /// Latency from publish at one node to delivery at another, one server of the engine
    Latency,
    /// The same, with three servers and three replicas
    LatencyReplicated,
    /// Processor time of a delivery to 5,000 subscribers, with a cluster and without
    Fanout,
}

pub(crate) fn measure(options: &Options) -> Outcome {
    raise_descriptor_limit()?;
    let bench = Bench::new(options.carafe.as_deref(), options.rounds, options.quick)?;
    let mut results = Results::new(bench.is_quick());
    results.measure(&options.parts, |part| noted(|| part_of(&bench, *part)))?;
    results.finish(options.write.then_some(document::Part::Cluster), options.check)
}

fn part_of(bench: &Bench, part: Part) -> Outcome<Section> {
    match part {
        Part::Publish => publish::measure(bench, Setup::ONE),
        Part::PublishSynced => publish::measure(bench, Setup::SYNCED),
        Part::PublishReplicated => publish::measure(bench, Setup::REPLICATED),
        Part::Latency => latency::measure(bench, Setup::ONE),
        Part::LatencyReplicated => latency::measure(bench, Setup::REPLICATED),
        Part::Fanout => fanout::measure(bench),
    }
}
