//! `cargo xtask bench`: installs the peers, builds, and runs the measurements of carafe-bench.

use std::ffi::{OsStr, OsString};

use crate::install::{Piece, install};
use crate::step::Step;
use crate::unpack::{NCHAN, NGINX};

/// What `fanout` needs: the servers with which the hub is compared, and strace, which counts its
/// system calls.
const FANOUT: [Piece; 6] = [
    Piece::Strace,
    Piece::Node,
    Piece::NodeModules("bench/peers/express"),
    Piece::NodeModules("bench/peers/better-sse"),
    Piece::Unpacked(&NGINX),
    Piece::Unpacked(&NCHAN),
];

/// The servers with which `events` compares the hub, and does without where they cannot be
/// installed.
const EVENTS: [Piece; 4] = [
    Piece::Unpacked(&NGINX),
    Piece::Unpacked(&NCHAN),
    Piece::Peer("centrifugo"),
    Piece::Peer("mercure"),
];

/// The engine of `cluster`, whose program is in a package of Python.
const CLUSTER: [Piece; 2] = [Piece::Python, Piece::PythonModules];

/// Clients of event streams in Node, beside each other.
const NODE_CLIENTS: &str = "bench/peers/clients";

/// The same in Rust. Its peers are not in the lock file of the workspace.
const RUST_CLIENTS: &str = "cargo run --quiet --release --target-dir target/rust-clients \
     --manifest-path bench/peers/rust-clients/Cargo.toml --";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// `durable`, `replay`, `fanout`, `events`, `million`, `storm`, `shape`, `latest`, `ingest`,
    /// `catch-up`, `cluster` or `clients`, with its options; add `--help` to list them
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    measurement: Vec<OsString>,
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    match options.measurement.first().and_then(|name| name.to_str()) {
        Some("clients") => return measure_clients(&options.measurement[1..]),
        Some("fanout") => {
            install_missing(&FANOUT)?;
            build_carafe()?;
        }
        Some("cluster") => {
            install_missing(&CLUSTER)?;
            build_carafe()?;
        }
        Some("events") => {
            EVENTS.into_iter().for_each(install_if_possible);
            build_carafe()?;
        }
        Some("catch-up") => {
            install_missing(&[Piece::Unpacked(&NGINX)])?;
            build_carafe()?;
        }
        Some("million" | "storm" | "shape" | "ingest") => build_carafe()?,
        _ => {}
    }
    let step =
        Step::new("bench", "cargo run --quiet --release -p carafe-bench --features measure --");
    options.measurement.iter().map(OsStr::new).fold(step, Step::arg).run()
}

/// Needs neither a hub nor carafe-bench.
fn measure_clients(args: &[OsString]) -> Result<(), String> {
    let pieces = [Piece::Node, Piece::NodeModules(NODE_CLIENTS)];
    install_missing(&pieces)?;
    let node = Step::new("bench", "node").arg(format!("{NODE_CLIENTS}/bench.mjs"));
    args.iter().fold(node, Step::arg).run()?;
    let rust = Step::new("bench", RUST_CLIENTS);
    args.iter().fold(rust, Step::arg).run()
}

fn install_missing(pieces: &[Piece]) -> Result<(), String> {
    let missing: Vec<_> = pieces.iter().copied().filter(|piece| !piece.is_here()).collect();
    install(&missing)
}

/// The measurement names the servers that are missing.
fn install_if_possible(piece: Piece) {
    if !piece.is_here()
        && let Err(reason) = install(&[piece])
    {
        println!("skipped: {piece}: {reason}");
    }
}

pub(crate) fn build_carafe() -> Result<(), String> {
    Step::new("bench", "cargo build --quiet --release -p carafe-cli").run()
}
