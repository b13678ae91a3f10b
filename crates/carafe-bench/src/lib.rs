//! The load generator `carafe bench`: opens many event streams to one server, publishes, and checks
//! that each stream receives every event.
//!
//! One thread with its own poller drives all connections, because the load generator must be faster
//! than the server. It works with any server that accepts an event as the body of a POST. Published
//! events carry a mark; other events are ignored.
//!
//! ```no_run
//! use carafe_bench::{Error, Options, run};
//! use clap::{Args, Command, FromArgMatches};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let command = Options::augment_args(Command::new("bench"));
//! let options = Options::from_arg_matches(&command.get_matches())?;
//! match run(&options) {
//!     Err(Error::Usage(reason)) => eprintln!("usage: {reason}"),
//!     other => other?,
//! }
//! # Ok(()) }
//! ```

#[cfg(not(unix))]
compile_error!(
    "the load generator and the program `carafe` need Unix: use the library on this system"
);

mod alarm;
mod answer;
mod body;
mod checks;
mod clock;
mod connection;
mod descriptors;
mod error;
mod fleet;
mod flight;
mod framing;
mod http2;
mod load;
mod mark;
mod options;
mod plan;
mod progress;
mod publisher;
mod publishers;
mod report;
mod scanner;
mod socket;
mod sources;
mod stages;
mod tally;
mod target;
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
mod tickets;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;

pub use error::Error;
pub use options::Options;

use std::io::{self, Write};

use serde::Serialize;

use load::Load;
use plan::Plan;
use progress::Progress;
use report::Report;
use stages::{Signal, Stages};

/// Runs the load and prints reports to standard output.
///
/// # Errors
/// When the options are invalid, the server cannot be used, or an event was lost, doubled or out of
/// order.
pub fn run(options: &Options) -> Result<(), Error> {
    let plan = Plan::of(options)?;
    descriptors::raise_limit_for(plan.sockets() + plan.publishers)?;
    let mut load = Load::new(plan)?;
    let mut reporter = Reporter::new(options, &load)?;
    let mut progress = Progress::new(load.plan.connections);
    load.connect(|load| progress.show(load, 0))?;
    reporter.stage(&mut load, "connected", None)?;
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
        reporter.stage(&mut load, "round", Some(&round))?;
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
    Err(Error::Failed(format!("not every event arrived once and in order: {faults}{lost}")))
}

/// Prints reports, and waits for the driver between stages.
struct Reporter {
    json: bool,
    stages: Option<Stages>,
}

#[derive(Serialize)]
struct Stage<'a> {
    stage: &'a str,
    #[serde(flatten)]
    report: Option<Report>,
}

impl Reporter {
    fn new(options: &Options, load: &Load) -> Result<Self, Error> {
        let stages = options.stages.then(|| load.stages()).transpose()?;
        Ok(Self { json: options.json || options.stages, stages })
    }

    /// Reports a stage, then keeps all connections going until the driver continues the run.
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
        let mut signal = Signal::None;
        load.idle_until(|| {
            signal = stages.signal();
            signal != Signal::None
        })?;
        if signal == Signal::End { Err(Error::ClosedPipe) } else { Ok(()) }
    }
}

/// Prints a line and flushes it.
fn print_line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

fn print_json(value: &impl Serialize) -> io::Result<()> {
    print_line(&serde_json::to_string(value)?)
}
