//! What it costs to bring events to very many, beside the floor and beside others.

mod authorised;
mod churn;
mod delivery;
mod idle;
mod stalled;
mod topics;
mod writes;

use std::path::PathBuf;

use clap::ValueEnum;

use crate::Outcome;
use crate::child::{cores, raise_descriptor_limit};
use crate::document;
use crate::noise::Noise;
use crate::results::Results;
use crate::section::Section;
use crate::subject::carafe;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// What to measure; all of it without any
    parts: Vec<Part>,
    /// How often the servers take turns
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measure with a fifth of the connections, and shortly: to see that it runs
    #[arg(long)]
    quick: bool,
    /// Fail if a demand is missed
    #[arg(long)]
    check: bool,
    /// Write this part of bench/RESULTS.md, and bench/results.svg
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

/// How a part is to be measured.
pub(crate) struct Bench {
    pub(crate) carafe: PathBuf,
    pub(crate) rounds: usize,
    quick: bool,
    /// The core of the server, and that of the load.
    pub(crate) server: Option<usize>,
    pub(crate) load: Option<usize>,
}

pub(crate) fn measure(options: &Options) -> Outcome {
    raise_descriptor_limit()?;
    let bench = Bench::new(options)?;
    let mut results = Results::new(bench.quick);
    for part in Part::value_variants() {
        if options.parts.is_empty() || options.parts.contains(part) {
            let section = bench.measure(*part)?;
            println!("{section}");
            results.add(section);
        }
    }
    results.finish(options.write.then_some(document::Part::Fanout), options.check)
}

impl Bench {
    fn new(options: &Options) -> Outcome<Self> {
        let [server, load, ..] = cores()?[..] else {
            return Err("this takes two cores: one for the server, one for the load".into());
        };
        Ok(Self {
            carafe: carafe(options.carafe.as_deref())?,
            rounds: if options.quick { 1 } else { options.rounds.max(1) },
            quick: options.quick,
            server: Some(server),
            load: Some(load),
        })
    }

    fn measure(&self, part: Part) -> Outcome<Section> {
        let noise = Noise::listen()?;
        let mut section = self.part(part)?;
        section.note(noise.to_string()?);
        Ok(section)
    }

    fn part(&self, part: Part) -> Outcome<Section> {
        match part {
            Part::One => delivery::one_in_flight(self),
            Part::Window => delivery::window(self),
            Part::Topics => topics::measure(self),
            Part::Churn => churn::measure(self),
            Part::Idle => idle::measure(self),
            Part::Stalled => stalled::measure(self),
            Part::Writes => writes::measure(self),
            Part::Authorised => authorised::measure(self),
        }
    }

    /// So many connections, or fewer where it is to be quick.
    pub(crate) fn connections(&self, count: usize) -> usize {
        if self.quick { count / 5 } else { count }
    }

    /// So many seconds, or fewer.
    pub(crate) fn seconds(&self, seconds: u64) -> u64 {
        if self.quick { seconds.div_ceil(5) } else { seconds }
    }
}
