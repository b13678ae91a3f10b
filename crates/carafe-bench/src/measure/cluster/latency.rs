//! The time from publish to receipt: from one node to another, and through the engine alone.

use std::fmt;

use crate::bench::Bench;
use crate::contest::{self, Contest};
use crate::driver::Load;
use crate::figure::Limit;
use crate::outcome::Outcome;
use crate::section::Section;

use super::engine::Engine;
use super::load::EngineLoad;
use super::nodes::Nodes;
use super::setup::Setup;

/// Events a second: few, so that none waits for another.
const RATE: u32 = 500;

const BYTES: usize = 128;

/// How long a round publishes, after one that warms everything up.
const SECONDS: u64 = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Published at one node, delivered by another.
    BetweenNodes,
    /// Published at a node, delivered by the same.
    OneNode,
    /// Published to the engine, delivered by an ordered consumer on another connection.
    Engine,
}

pub(super) fn measure(bench: &Bench, setup: Setup) -> Outcome<Section> {
    let ways = [Way::BetweenNodes, Way::Engine, Way::OneNode];
    let contest = Contest::run(bench, &ways, |way| match way {
        Way::BetweenNodes => through_nodes(bench, setup, 2),
        Way::OneNode => through_nodes(bench, setup, 1),
        Way::Engine => through_engine(bench, setup),
    })?;
    let title = format!("From publish to receipt, {RATE} events a second: {}", setup.name());
    let mut section = Section::new(title);
    contest.tabulate(&mut section, ["p50, µs", "p99, µs", "load's core"]);
    section.note(format!(
        "Events and messages of {BYTES} bytes. A latency is the time from writing the request to \
         reading the event. The engine alone: a message to JetStream, read by an ordered consumer \
         on another connection. The engine and the nodes share one core, and the load has the \
         other."
    ));
    for (figure, column) in [("p50", 0), ("p99", 1)] {
        let pair = (Way::BetweenNodes, Way::Engine);
        contest.demand(&mut section, (figure, column), pair, Limit::AtMost(2.0));
    }
    section.plot(format!("Median latency, µs: {}", setup.name()), contest.bars(0));
    Ok(section)
}

fn through_nodes(bench: &Bench, setup: Setup, count: usize) -> Outcome<[f64; 3]> {
    let engine = Engine::start(bench, setup)?;
    let nodes = Nodes::start(bench, &engine, count)?;
    let options = format!(
        "-c 1 --rate {RATE} --payload {BYTES} --duration {}s --rounds 2",
        bench.seconds(SECONDS)
    );
    const PATH: &str = "/events/bench";
    let publish = format!("--publish={}", nodes.get(0).url(PATH));
    let url = nodes.after(0).url(PATH);
    let mut load = Load::connected_with(&url, &options, &[publish], bench.load)?;
    load.round()?;
    let report = load.round()?;
    Ok([report.latency.p50 as f64, report.latency.p99 as f64, report.core])
}

fn through_engine(bench: &Bench, setup: Setup) -> Outcome<[f64; 3]> {
    let engine = Engine::start(bench, setup)?;
    let options = format!("--rate {RATE} --payload {BYTES} --seconds {}", bench.seconds(SECONDS));
    let mut load = EngineLoad::connected(bench, &engine, &options)?;
    load.round()?;
    let report = load.round()?;
    Ok([report.p50, report.p99, report.core])
}

impl contest::Contestant for Way {}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BetweenNodes => "Carafe, node to node",
            Self::OneNode => "Carafe, at one node",
            Self::Engine => "engine",
        })
    }
}
