//! Processor time of a delivery at a node of a cluster, beside that of a hub on one machine.

use std::fmt;

use crate::bench::Bench;
use crate::contest::{self, Contest};
use crate::deliveries::Deliveries;
use crate::figure::Limit;
use crate::outcome::Outcome;
use crate::section::Section;
use crate::server::Server;

use super::engine::Engine;
use super::nodes::Nodes;
use super::setup::Setup;

const SUBSCRIBERS: usize = 5_000;

/// How long a round publishes.
const SECONDS: u64 = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hub {
    Node,
    OneMachine,
}

pub(super) fn measure(bench: &Bench) -> Outcome<Section> {
    let subscribers = bench.connections(SUBSCRIBERS);
    let load = format!("-c {subscribers} --duration {}s", bench.seconds(SECONDS));
    let contest = Contest::run(bench, &[Hub::Node, Hub::OneMachine], |hub| match hub {
        Hub::Node => {
            let engine = Engine::start(bench, Setup::ONE)?;
            let nodes = Nodes::start(bench, &engine, 1)?;
            deliver(bench, nodes.get(0), &load)
        }
        Hub::OneMachine => {
            let hub = Server::carafe(&bench.carafe, &["--log", "memory:"], bench.server)?;
            deliver(bench, &hub, &load)
        }
    })?;
    let mut section =
        Section::new(format!("One event in flight to {subscribers} subscribers of a node"));
    contest.tabulate(
        &mut section,
        ["µs of processor a delivery", "deliveries a second", "load's core"],
    );
    section.note(
        "The processor time is that of the hub. The engine shares its core, and the load has the \
         other.",
    );
    let figure = ("processor time of a delivery", 0);
    contest.demand(&mut section, figure, (Hub::Node, Hub::OneMachine), Limit::AtMost(1.05));
    section.plot("Processor time of a delivery, µs", contest.bars(0));
    Ok(section)
}

fn deliver(bench: &Bench, hub: &Server, load: &str) -> Outcome<[f64; 3]> {
    let measured = Deliveries::measure(bench, hub, &hub.url("/events/bench"), load, &[])?;
    let Deliveries { processor, report, .. } = measured;
    Ok([processor, report.deliveries_per_second, report.core])
}

impl contest::Contestant for Hub {}

impl fmt::Display for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "Carafe, --cluster",
            Self::OneMachine => "Carafe, one machine",
        })
    }
}
