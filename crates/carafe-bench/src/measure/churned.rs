//! Connections that come and go.

use crate::bench::Bench;
use crate::driver::Load;
use crate::outcome::Outcome;
use crate::server::Server;

pub(crate) const CONNECTIONS: usize = 1_000;
pub(crate) const RECONNECTS: u64 = 2_000;

/// What connections that come and go have cost a server.
pub(crate) struct Churned {
    /// Microseconds of its processor time for a reconnect.
    pub(crate) processor: f64,
    pub(crate) reconnects: u64,
    /// Bytes of user memory.
    pub(crate) before: f64,
    pub(crate) after: f64,
    /// The load's share of its core.
    pub(crate) core: f64,
}

impl Churned {
    /// `arguments` are further arguments of the load.
    pub(crate) fn measure(
        bench: &Bench,
        server: &Server,
        url: &str,
        arguments: &[String],
        seconds: u64,
    ) -> Outcome<Self> {
        let options = format!(
            "-c {CONNECTIONS} -n 0 --reconnects {RECONNECTS} --duration {seconds}s --rounds 2"
        );
        let mut load = Load::connected_with(url, &options, arguments, bench.load)?;
        // The first round warms up: before it, nothing has ever been given back.
        load.round()?;
        let (before, start) = (server.memory()?, server.processor()?);
        let report = load.round()?;
        Ok(Self {
            processor: (server.processor()? - start) * 1e6 / report.reconnects as f64,
            reconnects: report.reconnects,
            before: before.resident as f64,
            after: server.memory()?.resident as f64,
            core: report.core,
        })
    }
}
