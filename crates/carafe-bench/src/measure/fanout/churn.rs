//! Connections that come and go.

use crate::bench::Bench;
use crate::churned::{CONNECTIONS, Churned, RECONNECTS};
use crate::figure::Limit;
use crate::outcome::Outcome;
use crate::section::Section;
use crate::series::Series;
use crate::subject::Subject;

/// From round to round the ratio differs by a fifth either way: of fewer, the median says little.
const ROUNDS: usize = 7;

/// How long connections come and go while the servers take turns, and how long for the memory.
const SECONDS: u64 = 10;
const LONG: u64 = 50;

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
    let server = subject.start(&bench.carafe, bench.server)?;
    Churned::measure(bench, &server, &server.url("/events/bench"), &[], seconds)
}
