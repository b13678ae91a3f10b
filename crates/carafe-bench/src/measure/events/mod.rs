//! The price of one event with small audiences and many publishers, compared with the floor and
//! with other servers.

mod contest;
mod contestant;
mod publish;
mod small;

use std::path::PathBuf;

use clap::ValueEnum;

use crate::bench::Bench;
use crate::child::raise_descriptor_limit;
use crate::document;
use crate::noise::Noise;
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
    /// Write the results to bench/RESULTS.md and bench/events.svg
    #[arg(long)]
    write: bool,
    /// The program to measure
    #[arg(long)]
    carafe: Option<PathBuf>,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// 2,000 topics with one subscriber each, 2,000 events a second
    OneToOne,
    /// 1,000 topics with ten subscribers each, 2,000 events a second
    Ten,
    /// 64 publishers with 256 events in flight, one subscriber
    Publish,
}

pub(crate) fn measure(options: &Options) -> Outcome {
    raise_descriptor_limit()?;
    let bench = Bench::new(options.carafe.as_deref(), options.rounds, options.quick)?;
    let mut results = Results::new(bench.is_quick());
    results.measure(&options.parts, |part| measure_part(&bench, *part))?;
    results.finish(options.write.then_some(document::Part::Events), options.check)
}

fn measure_part(bench: &Bench, part: Part) -> Outcome<Section> {
    let noise = Noise::listen()?;
    let mut section = part_of(bench, part)?;
    section.note(noise.to_string()?);
    Ok(section)
}

fn part_of(bench: &Bench, part: Part) -> Outcome<Section> {
    match part {
        Part::OneToOne => small::one_to_one(bench),
        Part::Ten => small::ten(bench),
        Part::Publish => publish::measure(bench),
    }
}
