//! The measurements.

use std::ffi::{OsStr, OsString};

use crate::install::{Piece, install};
use crate::step::Step;
use crate::unpack::{NCHAN, NGINX};

/// What others are made of, beside whom the hub is measured, and what counts its system calls.
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
    /// `durable`, `replay`, `fanout`, `million`, `storm`, `shape` or `catch-up`, and its options,
    /// which `--help` after it tells
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    measurement: Vec<OsString>,
}

pub(crate) fn run(options: &Options) -> Result<(), String> {
    match options.measurement.first().and_then(|name| name.to_str()) {
        Some("fanout") => {
            bring_peers()?;
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

fn bring_peers() -> Result<(), String> {
    let missing: Vec<_> = PEERS.into_iter().filter(|piece| !piece.is_here()).collect();
    if missing.is_empty() { Ok(()) } else { install(&missing) }
}

pub(crate) fn build_carafe() -> Result<(), String> {
    Step::new("bench", "cargo build --quiet --release -p carafe-cli").run()
}
