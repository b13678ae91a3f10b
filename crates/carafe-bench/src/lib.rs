//! `carafe bench`: many connections to one server, each of which checks that it gets every event.
//!
//! One thread with a poll of its own drives them all: what measures must be quicker than what is
//! measured. Any server of event streams will do that takes an event as the body of a POST. The
//! events carry marks, so that others' are passed over.

mod answer;
mod checks;
mod clock;
mod connection;
mod descriptors;
mod error;
mod fleet;
mod flight;
mod framing;
mod load;
mod mark;
mod options;
mod plan;
mod progress;
mod publisher;
mod report;
mod scanner;
mod sources;
mod stages;
mod tally;
mod target;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use options::Options;

use std::io::{self, Write};

use serde::Serialize;

use load::Load;
use plan::Plan;
use progress::Progress;
use report::Report;
use stages::{Stages, Word};

/// Measures, and fails if any event was lost, doubled or out of order.
pub fn run(options: &Options) -> Result<(), Error> {
    let plan = Plan::of(options)?;
    descriptors::raise_limit_for(plan.connections)?;
    let mut load = Load::new(plan)?;
    let mut teller = Teller::new(options, &load)?;
    let mut progress = Progress::new(load.plan.connections);
    load.connect(|load| progress.show(load, 0))?;
    teller.stage(&mut load, "connected", None)?;
    for number in 1..=load.plan.rounds {
        let round = load.round(|load, published| progress.show(load, published))?;
        let is_last = number == load.plan.rounds;
        if is_last && load.plan.resumes && load.plan.stalled > 0 {
            load.wake_stalled()?;
        }
        if is_last {
            load.count_missing();
            progress.end();
        }
        teller.stage(&mut load, "round", Some(&round))?;
    }
    verdict(&load)
}

fn verdict(load: &Load) -> Result<(), Error> {
    let faults = load.tally.checks.faults();
    if faults.is_none() {
        return Ok(());
    }
    let lost = load.fleet.latest_loss().filter(|_| faults.lost > 0);
    let lost = lost.map(|loss| format!("; the last: {loss}")).unwrap_or_default();
    Err(Error::Failed(format!("not everything arrived once and in order: {faults}{lost}")))
}

/// Says what was found.
struct Teller {
    json: bool,
    stages: Option<Stages>,
}

#[derive(Serialize)]
struct Stage<'a> {
    stage: &'a str,
    #[serde(flatten)]
    report: Option<Report>,
}

impl Teller {
    fn new(options: &Options, load: &Load) -> Result<Self, Error> {
        let stages = options.stages.then(|| load.stages()).transpose()?;
        Ok(Self { json: options.json || options.stages, stages })
    }

    /// Tells a stage, and waits for the word to go on, while all connections go on living.
    fn stage(
        &mut self,
        load: &mut Load,
        stage: &str,
        round: Option<&load::Round>,
    ) -> Result<(), Error> {
        let report = round.map(|round| Report::of(load, round));
        load.tally.end_round();
        match (report, &self.stages) {
            (report, Some(_)) => print_json(&Stage { stage, report })?,
            (Some(report), None) if self.json => print_json(&report)?,
            (Some(report), None) => print_line(&report.to_string())?,
            (None, None) => {}
        }
        let Some(stages) = &self.stages else { return Ok(()) };
        let mut word = Word::None;
        load.idle_until(|| {
            word = stages.word();
            word != Word::None
        })?;
        if word == Word::End { Err(Error::ClosedPipe) } else { Ok(()) }
    }
}

/// Prints a line at once.
fn print_line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

fn print_json(value: &impl Serialize) -> io::Result<()> {
    print_line(&serde_json::to_string(value)?)
}
