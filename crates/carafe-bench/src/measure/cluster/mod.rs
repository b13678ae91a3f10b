//! Nodes of a cluster, beside the engine that they share: events per second, latency, processor
//! time.

mod engine;

use std::path::{Path, PathBuf};

use crate::driver::{Load, Report};
use crate::figure::{Figure, Limit};
use crate::outcome::Outcome;
use crate::server::{Server, carafe};
use crate::turns::in_turns;

use self::engine::{Client, Engine};

/// Events, or messages of the engine, that are not acknowledged yet.
const WINDOW: usize = 256;

/// Connections of the publishers of all nodes.
const PUBLISHERS: usize = 63;

/// Bytes of an event's data.
const DATA: usize = 128;

/// How long a round publishes.
const SECONDS: u64 = 3;

/// Events of a round that are sent one after the other.
const ALONE: usize = 300;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often the two sides of a figure alternate
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// The program; otherwise the one that was built beside this
    #[arg(long)]
    carafe: Option<PathBuf>,
    /// The server of NATS
    #[arg(long, default_value = "target/clients-venv/bin/nats-server")]
    nats: PathBuf,
    /// Folder on the disk to measure; files are removed afterwards
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// Sync each message to the disk, as `sync_interval: always` does
    #[arg(long)]
    sync: bool,
}

pub(crate) fn measure(options: &Options) -> Outcome {
    std::fs::create_dir_all(&options.dir)?;
    let program = carafe(options.carafe.as_deref())?;
    let folder = tempfile::tempdir_in(&options.dir)?;
    let engine = Engine::start(&options.nats, folder.path(), options.sync)?;
    let nodes = (0..3).map(|_| node(&program, &engine)).collect::<Outcome<Vec<_>>>()?;
    let mut client = engine.connect("bare")?;
    for count in [1, 3] {
        throughput(&nodes[..count], &mut client, options.rounds)?;
    }
    latency(&nodes, &mut client, options.rounds)
}

fn node(program: &Path, engine: &Engine) -> Outcome<Server> {
    let url = engine.url();
    Server::carafe(program, &["--cluster", &url, "--log", "memory:"], None)
}

fn throughput(nodes: &[Server], client: &mut Client, rounds: usize) -> Outcome {
    let turns = in_turns(
        rounds,
        || events_per_second(nodes),
        || client.messages_per_second(WINDOW, DATA, SECONDS),
    )?;
    let (count, nodes, engine) = (nodes.len(), turns.one.median(), turns.other.median());
    println!(
        "{count} nodes, {WINDOW} in flight: {nodes:.0} events/s; the engine alone: {engine:.0} \
         messages/s"
    );
    let name = "nodes / engine, in events and messages a second";
    println!("{}", Figure { name, value: turns.ratio(), limit: Limit::AtLeast(1.0) });
    Ok(())
}

/// Publishes at all nodes at once, each to a topic of its own with one subscriber.
fn events_per_second(nodes: &[Server]) -> Outcome<f64> {
    let options = format!(
        "-c 1 --publishers {} --window {} --payload {DATA} --duration {SECONDS}s",
        PUBLISHERS / nodes.len(),
        WINDOW / nodes.len()
    );
    let loads = nodes.iter().zip(1..).map(|(node, number): (_, u32)| {
        Load::connected(&node.url(&format!("/events/bench/{number}")), &options, None)
    });
    let mut loads = loads.collect::<Outcome<Vec<_>>>()?;
    loads.iter_mut().try_for_each(Load::go)?;
    let reports = loads.iter().map(Load::report).collect::<Outcome<Vec<Report>>>()?;
    Ok(reports.iter().map(|report| report.deliveries_per_second).sum())
}

/// One event after the other, from one node to a subscriber of another; and one message after the
/// other, from one client of the engine to another.
fn latency(nodes: &[Server], client: &mut Client, rounds: usize) -> Outcome {
    let turns = in_turns(rounds, || across(&nodes[0], &nodes[1]), || client.delivery(ALONE, DATA))?;
    println!(
        "from one node to another: {:.0} µs; from one client of the engine to another: {:.0} µs",
        turns.one.median(),
        turns.other.median()
    );
    let name = "publish to deliver: across nodes / the engine alone";
    println!("{}", Figure { name, value: turns.ratio(), limit: Limit::AtMost(2.0) });
    Ok(())
}

/// Microseconds, in the middle.
fn across(one: &Server, other: &Server) -> Outcome<f64> {
    let publish = one.url("/events/bench/alone");
    let options = format!("-c 1 --publish {publish} --window 1 --payload {DATA} -n {ALONE}");
    let mut load = Load::connected(&other.url("/events/bench/alone"), &options, None)?;
    Ok(load.round()?.latency.p50 as f64)
}
