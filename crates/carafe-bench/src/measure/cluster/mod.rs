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

use clap::ValueEnum;

use crate::bench::Bench;
use crate::document;
use crate::outcome::Outcome;
use crate::parts;
use crate::section::Section;

pub(crate) use load::{Options as LoadOptions, serve as serve_load};
use setup::Setup;

pub(crate) type Options = parts::Options<Part>;

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
    let bench = options.bench()?;
    options.measure(document::Part::Cluster, |part| part_of(&bench, part))
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
