//! Events a second through nodes, beside messages a second of the engine.

use std::fmt;

use crate::bench::Bench;
use crate::contest::{self, Contest};
use crate::driver::Load;
use crate::figure::Limit;
use crate::outcome::Outcome;
use crate::section::Section;
use crate::server::{Server, this_program};

use super::engine::Engine;
use super::load::EngineLoad;
use super::nodes::Nodes;
use super::setup::Setup;

/// Events in flight: of as many publishers, where each has a connection.
const WINDOW: usize = 256;

/// Events in flight of one request, in batches.
const BATCH: usize = 16;

/// The size of an event's data, and of a message of the engine.
const BYTES: usize = 128;

/// How long a round publishes, after one that warms everything up.
const SECONDS: u64 = 2;

/// Who publishes what to whom.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// To so many nodes.
    Nodes(usize, Form),
    /// Messages to the engine, on so many connections.
    Engine(usize),
    /// Requests to a server that only answers them.
    BareHttp,
}

/// How events are sent to nodes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// One in a request, on a connection for each in flight.
    Single,
    /// The same, and nobody subscribes: an event is in flight until it is acknowledged.
    Unread,
    /// Several in a request.
    Batches,
    /// All in one request.
    Ingest,
}

const ONE_NODE: Side = Side::Nodes(1, Form::Single);
const THREE_NODES: Side = Side::Nodes(3, Form::Single);
const UNREAD: Side = Side::Nodes(1, Form::Unread);
const BATCHES: Side = Side::Nodes(1, Form::Batches);
const INGEST: Side = Side::Nodes(1, Form::Ingest);
const SAME: Side = Side::Engine(WINDOW);
const PIPELINED: Side = Side::Engine(1);

const SIDES: [Side; 8] =
    [ONE_NODE, SAME, THREE_NODES, PIPELINED, UNREAD, Side::BareHttp, BATCHES, INGEST];

const HEAD: [&str; 5] = [
    "events a second",
    "µs of nodes an event",
    "µs of engine an event",
    "µs of load an event",
    "events a commit",
];

/// The columns of [`HEAD`].
type Figures = [f64; HEAD.len()];

const RATE: usize = 0;
const OF_ENGINE: usize = 2;

pub(super) fn measure(bench: &Bench, setup: Setup) -> Outcome<Section> {
    let contest = Contest::run(bench, &SIDES, |side| match side {
        Side::Nodes(count, form) => through_nodes(bench, setup, count, form),
        Side::Engine(connections) => engine_alone(bench, setup, connections),
        Side::BareHttp => bare_http(bench),
    })?;
    let mut section = Section::new(format!("{WINDOW} events in flight: {}", setup.name()));
    contest.tabulate(&mut section, HEAD);
    describe(&mut section);
    compare(&contest, &mut section);
    for nodes in [ONE_NODE, THREE_NODES] {
        for engine in [SAME, PIPELINED] {
            let figure = ("events a second", RATE);
            contest.demand(&mut section, figure, (nodes, engine), Limit::AtLeast(1.0));
        }
    }
    section.plot(format!("Events a second: {}", setup.name()), contest.bars(RATE));
    Ok(section)
}

fn describe(section: &mut Section) {
    section.note(format!(
        "Events, and messages of the engine, of {BYTES} bytes. Through nodes: a connection over \
         HTTP for each event in flight, and a subscriber at each node, which with three nodes \
         receives what was published at another; an event is in flight until it has arrived. \
         Unread: nobody subscribes, and an event is in flight until it is acknowledged. Batches: \
         {BATCH} events in each request. Ingest: all events in one request. The engine alone: a \
         client of async-nats that publishes one message for each event, which is in flight until \
         it is acknowledged. Bare hyper: a server that reads the requests and answers them, and \
         does nothing else."
    ));
    section.note(
        "The stream has the same settings for all. The engine and all nodes share one core, and \
         the load has the other: the events a second compare what they cost, and do not show that \
         several machines do more than one. The processor times can be compared one by one.",
    );
}

/// What of a ratio is HTTP, and what the engine has left for others.
fn compare(contest: &Contest<Side, { HEAD.len() }>, section: &mut Section) {
    let ratio = |one, other, column| contest.ratio(one, other, column);
    section.note(format!(
        "Events a second of a node beside bare hyper: {}. Beside the engine on one connection: \
         batches {}, ingest {}, bare hyper {}.",
        ratio(UNREAD, Side::BareHttp, RATE),
        ratio(BATCHES, PIPELINED, RATE),
        ratio(INGEST, PIPELINED, RATE),
        ratio(Side::BareHttp, PIPELINED, RATE),
    ));
    section.note(format!(
        "The engine's processor time of an event through one node, beside that of a message: {} \
         with {WINDOW} connections, {} with one.",
        ratio(ONE_NODE, SAME, OF_ENGINE),
        ratio(ONE_NODE, PIPELINED, OF_ENGINE),
    ));
}

fn through_nodes(bench: &Bench, setup: Setup, count: usize, form: Form) -> Outcome<Figures> {
    let engine = Engine::start(bench, setup)?;
    let nodes = Nodes::start(bench, &engine, count)?;
    let load = |at| load(bench, &nodes, at, form);
    let mut loads = (0..count).map(load).collect::<Outcome<Vec<_>>>()?;
    round(&mut loads)?;
    let (of_nodes, of_engine) = (nodes.processor()?, engine.processor()?);
    let commits = engine.messages()?;
    let Round { events, a_second, of_load } = round(&mut loads)?;
    let micros = |seconds: f64| seconds * 1e6 / events as f64;
    Ok([
        a_second,
        micros(nodes.processor()? - of_nodes),
        micros(engine.processor()? - of_engine),
        micros(of_load),
        events as f64 / (engine.messages()? - commits) as f64,
    ])
}

/// What publishes to one node, with its share of the events in flight.
fn load(bench: &Bench, nodes: &Nodes, at: usize, form: Form) -> Outcome<Load> {
    let name = format!("bench-{at}");
    let path = format!("/events/{name}");
    let window = WINDOW / nodes.len() + usize::from(at < WINDOW % nodes.len());
    let (options, target) = match form {
        Form::Single => (format!("-c 1 --publishers {window}"), &*path),
        Form::Unread => (format!("-c 0 --publishers {window}"), &*path),
        Form::Ingest => ("-c 1 --ingest".into(), &*path),
        Form::Batches => {
            let publishers = window / BATCH;
            let batch = format!("--batch {name} --batch-size {BATCH}");
            (format!("-c 1 --publishers {publishers} {batch}"), "/events")
        }
    };
    let publish = format!("--publish={}", nodes.get(at).url(target));
    let options = format!("{options} {}", of_a_run(bench, window));
    Load::connected_with(&nodes.after(at).url(&path), &options, &[publish], bench.load)
}

/// The options that all loads over HTTP have.
fn of_a_run(bench: &Bench, window: usize) -> String {
    let seconds = bench.seconds(SECONDS);
    format!("--window {window} --payload {BYTES} --duration {seconds}s --rounds 2")
}

/// One round of all loads at once.
struct Round {
    events: u64,
    a_second: f64,
    /// Seconds of the processor time of all loads.
    of_load: f64,
}

fn round(loads: &mut [Load]) -> Outcome<Round> {
    loads.iter_mut().try_for_each(Load::go)?;
    let mut all = Round { events: 0, a_second: 0.0, of_load: 0.0 };
    for load in loads {
        let report = load.report()?;
        all.events += report.published;
        all.a_second += report.published_per_second;
        all.of_load += report.processor();
    }
    Ok(all)
}

fn bare_http(bench: &Bench) -> Outcome<Figures> {
    let server = Server::start(this_program()?.arg("bare-http"), bench.server)?;
    let options = format!("-c 0 --publishers {WINDOW} {}", of_a_run(bench, WINDOW));
    let url = server.url("/events/bench-0");
    let mut loads = [Load::connected_with(&url, &options, &[], bench.load)?];
    round(&mut loads)?;
    let start = server.processor()?;
    let Round { events, a_second, of_load } = round(&mut loads)?;
    let micros = |seconds: f64| seconds * 1e6 / events as f64;
    Ok([a_second, micros(server.processor()? - start), 0.0, micros(of_load), 0.0])
}

fn engine_alone(bench: &Bench, setup: Setup, connections: usize) -> Outcome<Figures> {
    let engine = Engine::start(bench, setup)?;
    let options = format!(
        "--connections {connections} --window {WINDOW} --payload {BYTES} --seconds {}",
        bench.seconds(SECONDS)
    );
    let mut load = EngineLoad::connected(bench, &engine, &options)?;
    load.round()?;
    let start = engine.processor()?;
    let report = load.round()?;
    let micros = |seconds: f64| seconds * 1e6 / report.messages as f64;
    let of_load = micros(report.core * report.seconds);
    let a_second = report.messages as f64 / report.seconds;
    Ok([a_second, 0.0, micros(engine.processor()? - start), of_load, 1.0])
}

impl contest::Contestant for Side {}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes(1, form) => write!(f, "Carafe, one node{form}"),
            Self::Nodes(count, form) => write!(f, "Carafe, {count} nodes{form}"),
            Self::Engine(1) => f.write_str("engine, one connection"),
            Self::Engine(connections) => write!(f, "engine, {connections} connections"),
            Self::BareHttp => f.write_str("bare hyper"),
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single => Ok(()),
            Self::Unread => f.write_str(", unread"),
            Self::Batches => write!(f, ", batches of {BATCH}"),
            Self::Ingest => f.write_str(", ingest"),
        }
    }
}
