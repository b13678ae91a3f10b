//! Connections that come and go.

use crate::driver::Load;
use crate::figure::Limit;
use crate::outcome::Outcome;
use crate::section::Section;
use crate::series::Series;
use crate::subject::{Server, Subject};

use crate::bench::Bench;

const CONNECTIONS: usize = 1_000;
const RECONNECTS: u64 = 2_000;

/// From round to round the ratio differs by a fifth either way: of fewer, the median says little.
const ROUNDS: usize = 7;

/// How long connections come and go while the servers take turns, and how long for the memory.
const SECONDS: u64 = 10;
const LONG: u64 = 50;

/// What connections that come and go have cost a server.
pub(crate) struct Churned {
    /// Microseconds of its processor time for a reconnect.
    pub(crate) processor: f64,
    reconnects: u64,
    /// Bytes of user memory.
    before: f64,
    after: f64,
}

pub(crate) fn measure(bench: &Bench) -> Outcome<Section> {
    let (mut carafe, mut axum) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds.max(ROUNDS) {
        carafe.push(churn(bench, Subject::Carafe, bench.seconds(SECONDS))?.processor);
        axum.push(churn(bench, Subject::Axum, bench.seconds(SECONDS))?.processor);
    }
    let long = churn(bench, Subject::Carafe, bench.seconds(LONG))?;
    let mut section =
        Section::new(format!("Churn: {CONNECTIONS} connections, {RECONNECTS} reconnects a second"));
    section.head(&["", "µs of processor a reconnect"]);
    for (subject, processor) in [(Subject::Carafe, &carafe), (Subject::Axum, &axum)] {
        section.row(vec![subject.name().into(), Series::of(processor.iter().copied()).to_string()]);
    }
    let ratio = Series::ratio(&carafe, &axum);
    section.demand("processor time of a reconnect, Carafe / axum", ratio, Limit::AtMost(1.0));
    let name = format!("resident memory after {} reconnects / before", long.reconnects);
    section.demand(name, Series::of([long.after / long.before]), Limit::AtMost(1.1));
    Ok(section)
}

fn churn(bench: &Bench, subject: Subject, seconds: u64) -> Outcome<Churned> {
    Churned::measure(bench, &subject.start(&bench.carafe, bench.server)?, &[], seconds)
}

impl Churned {
    pub(crate) fn measure(
        bench: &Bench,
        server: &Server,
        headers: &[String],
        seconds: u64,
    ) -> Outcome<Self> {
        let options = format!(
            "-c {CONNECTIONS} -n 0 --reconnects {RECONNECTS} --duration {seconds}s --rounds 2"
        );
        let url = server.url("/events/bench");
        let mut load = Load::with_headers(&url, &options, headers, bench.load)?;
        load.wait_until_connected()?;
        // The first round is there to have been: before it, nothing has ever been given back.
        load.round()?;
        let (before, start) = (server.memory()?, server.processor()?);
        let report = load.round()?;
        Ok(Self {
            processor: (server.processor()? - start) * 1e6 / report.reconnects as f64,
            reconnects: report.reconnects,
            before: before.resident as f64,
            after: server.memory()?.resident as f64,
        })
    }
}
