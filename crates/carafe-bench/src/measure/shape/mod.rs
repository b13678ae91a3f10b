//! Cost against size: each operation beside the same operation at a small size, in one run.

mod bench;
mod ended;
mod keys;
mod memory;
mod opening;
mod patterns;
mod readers;
mod sealing;

use std::path::PathBuf;
use std::time::Instant;

use clap::ValueEnum;

use crate::child::raise_descriptor_limit;
use crate::document;
use crate::noise::Noise;
use crate::outcome::Outcome;
use crate::results::Results;
use crate::section::Section;
use crate::server::carafe;

use bench::Bench;
pub(crate) use bench::{amount, permille};
pub(crate) use opening::serve_opened;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// What to measure [default: all of it]
    parts: Vec<Part>,
    /// How often each size is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Measure small sizes, once: to see that it runs
    #[arg(long)]
    quick: bool,
    /// Fail if an aim is missed
    #[arg(long)]
    check: bool,
    /// Write the part of bench/RESULTS.md, and bench/shape.svg
    #[arg(long)]
    write: bool,
    /// The folder for the logs, which are removed again: about 6 GB at a time
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// The program to measure
    #[arg(long)]
    carafe: Option<PathBuf>,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Publish latency while 20 clients read the log
    Readers,
    /// Publishing with an idempotency key on logs of 1 MB to 4 GB
    Keys,
    /// Replay and `last=1` by pattern, on logs of 1,000 and 1,000,000 topics
    Patterns,
    /// Opening logs of 1 M and 10 M entries
    Opening,
    /// Publish latency while a segment of 3 M topics is sealed
    Sealing,
    /// Memory per topic, key, pattern and ended topic
    Memory,
    /// Opening, publishing and subscribing beside 0 to 100,000 ended topics
    Ended,
}

pub(crate) fn measure(options: &Options) -> Outcome {
    raise_descriptor_limit()?;
    let bench = Bench {
        carafe: carafe(options.carafe.as_deref())?,
        rounds: if options.quick { 1 } else { options.rounds.max(1) },
        quick: options.quick,
        dir: options.dir.clone(),
    };
    let mut results = Results::new(bench.quick);
    results.measure(&options.parts, |part| measure_part(&bench, *part))?;
    results.finish(options.write.then_some(document::Part::Shape), options.check)
}

fn measure_part(bench: &Bench, part: Part) -> Outcome<Section> {
    let (noise, start) = (Noise::listen()?, Instant::now());
    let mut section = match part {
        Part::Readers => readers::measure(bench),
        Part::Keys => keys::measure(bench),
        Part::Patterns => patterns::measure(bench),
        Part::Opening => opening::measure(bench),
        Part::Sealing => sealing::measure(bench),
        Part::Memory => memory::measure(bench),
        Part::Ended => ended::measure(bench),
    }?;
    section.note(format!("{} It took {:.0} s.", noise.to_string()?, start.elapsed().as_secs_f64()));
    Ok(section)
}
