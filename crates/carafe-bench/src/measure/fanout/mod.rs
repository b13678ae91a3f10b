//! The cost of delivering events to many subscribers, compared with the floor of plain writes and
//! with other servers.

mod authorised;
mod churn;
mod delivery;
mod idle;
mod stalled;
mod topics;
mod writes;

use std::path::PathBuf;

use clap::ValueEnum;

use crate::bench::Bench;
use crate::child::raise_descriptor_limit;
use crate::document;
use crate::noise::noted;
use crate::outcome::Outcome;
use crate::results::Results;
use crate::section::Section;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// What to measure [default: everything]
    parts: Vec<Part>,
    /// Number of rounds in which the servers alternate
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measure briefly, with a fifth of the connections, as a smoke test
    #[arg(long)]
    quick: bool,
    /// Fail if a target is missed
    #[arg(long)]
    check: bool,
    /// Write the results to bench/RESULTS.md and bench/results.svg
    #[arg(long)]
    write: bool,
    /// The program to measure
    #[arg(long)]
    carafe: Option<PathBuf>,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// One event in flight to 10,000
    One,
    /// 16 events in flight to 10,000
    Window,
    /// 10,000 subscribers of 1,000 topics
    Topics,
    /// 1,000 connections, 2,000 reconnects a second
    Churn,
    /// Memory of idle connections, between 2,000 and 18,000
    Idle,
    /// 8,000 of 16,000 connections stop reading
    Stalled,
    /// System calls for a delivery, as strace counts them
    Writes,
    /// Subscribing with a token
    Authorised,
}

pub(crate) fn measure(options: &Options) -> Outcome {
    raise_descriptor_limit()?;
    let bench = Bench::new(options.carafe.as_deref(), options.rounds, options.quick)?;
    let mut results = Results::new(bench.is_quick());
    results.measure(&options.parts, |part| noted(|| part_of(&bench, *part)))?;
    results.finish(options.write.then_some(document::Part::Fanout), options.check)
}

fn part_of(bench: &Bench, part: Part) -> Outcome<Section> {
    match part {
        Part::One => delivery::one_in_flight(bench),
        Part::Window => delivery::window(bench),
        Part::Topics => topics::measure(bench),
        Part::Churn => churn::measure(bench),
        Part::Idle => idle::measure(bench),
        Part::Stalled => stalled::measure(bench),
        Part::Writes => writes::measure(bench),
        Part::Authorised => authorised::measure(bench),
    }
}
