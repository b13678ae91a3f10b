//! Deliveries to streams, and what they cost a server.

use crate::bench::Bench;
use crate::driver::{Load, Report};
use crate::outcome::Outcome;
use crate::server::Server;

/// What one round of publishing has cost a server.
pub(crate) struct Deliveries {
    /// Microseconds of its processor time for a delivery.
    pub(crate) processor: f64,
    /// Bytes of user memory for a stream.
    pub(crate) idle: f64,
    pub(crate) after: f64,
    pub(crate) report: Report,
}

impl Deliveries {
    /// The load has two rounds, the first of which warms up.
    pub(crate) fn measure(
        bench: &Bench,
        server: &Server,
        url: &str,
        options: &str,
        arguments: &[String],
    ) -> Outcome<Self> {
        let before = server.memory()?;
        let options = format!("{options} --rounds 2");
        let mut load = Load::connected_with(url, &options, arguments, bench.load)?;
        let idle = server.memory()?;
        load.round()?;
        let start = server.processor()?;
        let report = load.round()?;
        let processor = server.processor()? - start;
        let streams = report.connections as f64;
        let a_stream = |bytes: u64| (bytes as f64 - before.anonymous as f64) / streams;
        Ok(Self {
            processor: processor * 1e6 / report.deliveries as f64,
            idle: a_stream(idle.anonymous),
            after: a_stream(server.memory()?.anonymous),
            report,
        })
    }
}
