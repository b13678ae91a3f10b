//! Events a second through nodes, beside messages a second of the engine.

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

const CONNECTIONS: usize = 64;
const WINDOW: usize = 256;

/// The size of an event's data, and of a message of the engine.
const BYTES: usize = 128;

/// How long a round publishes, after one that warms everything up.
const SECONDS: u64 = 2;

/// Who publishes what to whom.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Events to so many nodes, with HTTP.
    Nodes(usize),
    /// Messages to the engine, on so many connections.
    Engine(usize),
}

const ONE_NODE: Side = Side::Nodes(1);
const THREE_NODES: Side = Side::Nodes(3);
const SAME: Side = Side::Engine(CONNECTIONS);
const PIPELINED: Side = Side::Engine(1);

pub(super) fn measure(bench: &Bench, setup: Setup) -> Outcome<Section> {
    let sides = [ONE_NODE, SAME, THREE_NODES, PIPELINED];
    let contest = Contest::run(bench, &sides, |side| match side {
        Side::Nodes(count) => through_nodes(bench, setup, count),
        Side::Engine(connections) => engine_alone(bench, setup, connections),
    })?;
    let mut section = Section::new(format!("{WINDOW} events in flight: {}", setup.name()));
    contest.tabulate(
        &mut section,
        ["events a second", "µs of nodes an event", "µs of engine an event", "load's core"],
    );
    section.note(format!(
        "Events, and messages of the engine, of {BYTES} bytes. Through nodes: {CONNECTIONS} \
         connections over HTTP, and a subscriber at each node, which with three nodes receives what \
         was published at another; an event is in flight until it has arrived. The engine alone: \
         a client of async-nats that publishes one message for each event, which is in flight \
         until it is acknowledged. The stream has the same settings for all. The engine and all nodes share \
         one core, and the load has the other: this compares what they cost, and does not show \
         that several machines do more than one."
    ));
    for nodes in [ONE_NODE, THREE_NODES] {
        for engine in [SAME, PIPELINED] {
            let figure = ("events a second", 0);
            contest.demand(&mut section, figure, (nodes, engine), Limit::AtLeast(1.0));
        }
    }
    section.plot(format!("Events a second: {}", setup.name()), contest.bars(0));
    Ok(section)
}

fn through_nodes(bench: &Bench, setup: Setup, count: usize) -> Outcome<[f64; 4]> {
    let engine = Engine::start(bench, setup)?;
    let nodes = Nodes::start(bench, &engine, count)?;
    let mut loads = (0..count).map(|at| load(bench, &nodes, at)).collect::<Outcome<Vec<_>>>()?;
    round(&mut loads)?;
    let (of_nodes, of_engine) = (nodes.processor()?, engine.processor()?);
    let Round { events, a_second, core } = round(&mut loads)?;
    let micros = |seconds: f64| seconds * 1e6 / events as f64;
    let of_nodes = micros(nodes.processor()? - of_nodes);
    Ok([a_second, of_nodes, micros(engine.processor()? - of_engine), core])
}

/// What publishes to one node, with its share of the connections and of the events in flight.
fn load(bench: &Bench, nodes: &Nodes, at: usize) -> Outcome<Load> {
    let path = format!("/events/bench-{at}");
    let share = |of: usize| of / nodes.len() + usize::from(at < of % nodes.len());
    let options = format!(
        "-c 1 --publishers {} --window {} --payload {BYTES} --duration {}s --rounds 2",
        share(CONNECTIONS),
        share(WINDOW),
        bench.seconds(SECONDS)
    );
    let publish = format!("--publish={}", nodes.get(at).url(&path));
    Load::connected_with(&nodes.after(at).url(&path), &options, &[publish], bench.load)
}

/// One round of all loads at once.
struct Round {
    events: u64,
    a_second: f64,
    core: f64,
}

fn round(loads: &mut [Load]) -> Outcome<Round> {
    loads.iter_mut().try_for_each(Load::go)?;
    let mut all = Round { events: 0, a_second: 0.0, core: 0.0 };
    for load in loads {
        let report = load.report()?;
        all.events += report.published;
        all.a_second += report.deliveries_per_second;
        all.core += report.core;
    }
    Ok(all)
}

fn engine_alone(bench: &Bench, setup: Setup, connections: usize) -> Outcome<[f64; 4]> {
    let engine = Engine::start(bench, setup)?;
    let options = format!(
        "--connections {connections} --window {WINDOW} --payload {BYTES} --seconds {}",
        bench.seconds(SECONDS)
    );
    let mut load = EngineLoad::connected(bench, &engine, &options)?;
    load.round()?;
    let start = engine.processor()?;
    let report = load.round()?;
    let micros = (engine.processor()? - start) * 1e6 / report.messages as f64;
    Ok([report.messages as f64 / report.seconds, 0.0, micros, report.core])
}

impl contest::Contestant for Side {}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes(1) => f.write_str("Carafe, one node"),
            Self::Nodes(count) => write!(f, "Carafe, {count} nodes"),
            Self::Engine(1) => f.write_str("engine, one connection"),
            Self::Engine(connections) => write!(f, "engine, {connections} connections"),
        }
    }
}
