//! `cargo xtask bench`: installs the peers, builds, and runs the measurements of carafe-bench.

use std::ffi::{OsStr, OsString};

use crate::install::{Piece, install};
use crate::step::Step;
use crate::unpack::{NCHAN, NGINX};

/// The servers with which the hub is compared, and strace, which counts its system calls.
const PEERS: [Piece; 6] = [
    Piece::Strace,
    Piece::Node,
    Piece::NodeModules("bench/peers/express"),
    Piece::NodeModules("bench/peers/better-sse"),
    Piece::Unpacked(&NGINX),
    Piece::Unpacked(&NCHAN),
];

#[derive(clap::Args)]
pub(crate) struct Options {
    /// `durable`, `replay`, `fanout`, `million`, `storm`, `shape` or `catch-up`, with its options;
    /// add `--help` to list them
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    measurement: Vec<OsString>,
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    match options.measurement.first().and_then(|name| name.to_str()) {
        Some("fanout") => {
            install_peers()?;
            build_carafe()?;
        }
        Some("catch-up") => {
            if !Piece::Unpacked(&NGINX).is_here() {
                install(&[Piece::Unpacked(&NGINX)])?;
            }
            build_carafe()?;
        }
        Some("million" | "storm" | "shape") => build_carafe()?,
        _ => {}
    }
    let step =
        Step::new("bench", "cargo run --quiet --release -p carafe-bench --features measure --");
    options.measurement.iter().map(OsStr::new).fold(step, Step::arg).run()
}

fn install_peers() -> Result<(), String> {
    let missing: Vec<_> = PEERS.into_iter().filter(|piece| !piece.is_here()).collect();
    if missing.is_empty() { Ok(()) } else { install(&missing) }
}

pub(crate) fn build_carafe() -> Result<(), String> {
    Step::new("bench", "cargo build --quiet --release -p carafe-cli").run()
}
