//! The load, `carafe bench`, driven in stages. It is this program, so that servers of different
//! versions have the same load.

use std::io::Write;
use std::time::Duration;

use serde::Deserialize;

use crate::child::Program;
use crate::outcome::Outcome;
use crate::server::this_program;

/// A stage may take this long.
const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) struct Load(Program);

#[derive(Deserialize)]
pub(crate) struct Stage {
    stage: String,
    #[serde(flatten)]
    report: Option<Report>,
}

/// What a round was.
#[derive(Deserialize)]
pub(crate) struct Report {
    pub(crate) connections: usize,
    pub(crate) published: u64,
    pub(crate) deliveries: u64,
    pub(crate) seconds: f64,
    pub(crate) published_per_second: f64,
    pub(crate) deliveries_per_second: f64,
    pub(crate) latency: Spread,
    pub(crate) reconnects: u64,
    pub(crate) reconnect: Spread,
    pub(crate) core: f64,
    pub(crate) faults: Faults,
}

impl Report {
    /// Seconds of the load's processor time.
    pub(crate) fn processor(&self) -> f64 {
        self.core * self.seconds
    }
}

/// Microseconds.
#[derive(Deserialize)]
pub(crate) struct Spread {
    pub(crate) p50: u64,
    pub(crate) p95: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
}

#[derive(Deserialize, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    gaps: u64,
    doubles: u64,
    reorders: u64,
    strays: u64,
    missing: u64,
    gap_events: u64,
    lost: u64,
}

impl Load {
    /// Begins to open the streams; `options` as a person types them.
    pub(crate) fn start(url: &str, options: &str, core: Option<usize>) -> Outcome<Self> {
        Self::start_with(url, options, &[], core)
    }

    /// The same, and returns when all are open.
    pub(crate) fn connected(url: &str, options: &str, core: Option<usize>) -> Outcome<Self> {
        Self::connected_with(url, options, &[], core)
    }

    /// The same, with further arguments, which may have spaces.
    pub(crate) fn connected_with(
        url: &str,
        options: &str,
        arguments: &[String],
        core: Option<usize>,
    ) -> Outcome<Self> {
        let load = Self::start_with(url, options, arguments, core)?;
        load.wait_until_connected()?;
        Ok(load)
    }

    fn start_with(
        url: &str,
        options: &str,
        arguments: &[String],
        core: Option<usize>,
    ) -> Outcome<Self> {
        let mut command = this_program()?;
        command.args(["load", url, "--stages"]).args(options.split_whitespace());
        command.args(arguments);
        Ok(Self(Program::start(&command, core)?))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn begin_to_kill(&mut self) -> Outcome {
        self.0.begin_to_kill()
    }

    pub(crate) fn wait_until_connected(&self) -> Outcome {
        match self.stage()?.stage.as_str() {
            "connected" => Ok(()),
            stage => Err(format!("the load is at {stage} instead of connected").into()),
        }
    }

    /// Lets the next round begin.
    pub(crate) fn go(&mut self) -> Outcome {
        Ok(self.0.stdin()?.write_all(b"go\n")?)
    }

    /// What the round was; an error if anything was lost, doubled or out of order.
    pub(crate) fn report(&self) -> Outcome<Report> {
        let report = self.stage()?.report.ok_or("the load has no report of a round")?;
        if report.faults == Faults::default() {
            return Ok(report);
        }
        Err(format!("not every event arrived once and in order: {:?}", report.faults).into())
    }

    pub(crate) fn round(&mut self) -> Outcome<Report> {
        self.go()?;
        self.report()
    }

    fn stage(&self) -> Outcome<Stage> {
        let line = self.0.next_line(PATIENCE).map_err(|error| format!("the load: {error}"))?;
        Ok(serde_json::from_str(&line)?)
    }
}
