//! The report of a round, as text and as JSON.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::checks::Faults;
use crate::load::{Load, Round};

/// The figures of one round, and all faults up to its end.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) connections: usize,
    pub(crate) open: usize,
    pub(crate) published: u64,
    pub(crate) deliveries: u64,
    pub(crate) seconds: f64,
    pub(crate) published_per_second: f64,
    pub(crate) deliveries_per_second: f64,
    /// Microseconds.
    pub(crate) latency: Spread,
    pub(crate) reconnects: u64,
    /// Microseconds.
    pub(crate) reconnect: Spread,
    /// The share of one core that the load generator used.
    pub(crate) core: f64,
    pub(crate) faults: Faults,
}

#[derive(Serialize)]
pub(crate) struct Spread {
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p95: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
}

impl Spread {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
        }
    }
}

impl Report {
    pub(crate) fn of(load: &Load, round: &Round) -> Self {
        let tally = &load.tally;
        Self {
            connections: load.plan.connections,
            open: load.fleet.open(),
            published: round.published,
            deliveries: tally.deliveries,
            seconds: round.seconds,
            published_per_second: round.published as f64 / round.seconds,
            deliveries_per_second: tally.deliveries as f64 / round.seconds,
            latency: Spread::of(&tally.latency),
            reconnects: tally.reconnect.len(),
            reconnect: Spread::of(&tally.reconnect),
            core: round.core,
            faults: tally.checks.faults(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { published, deliveries, seconds, connections, open, .. } = self;
        writeln!(f, "connections   {open} of {connections} open")?;
        write!(f, "events        {published} published")?;
        match *connections {
            0 => writeln!(f, " in {seconds:.2} s: {:.0} a second", self.published_per_second)?,
            _ => writeln!(
                f,
                ", {deliveries} delivered in {seconds:.2} s: {:.0} a second",
                self.deliveries_per_second
            )?,
        }
        if self.latency.max > 0 {
            writeln!(f, "latency       {}", self.latency)?;
        }
        if self.reconnects > 0 {
            writeln!(f, "reconnects    {}, {}", self.reconnects, self.reconnect)?;
        }
        writeln!(f, "load          used {:.0} % of a core", self.core * 100.0)?;
        write!(f, "faults        {}", self.faults)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |microseconds: u64| microseconds as f64 / 1000.0;
        let Self { p50, p90, p99, p999, max, .. } = *self;
        let (p50, p90, p99, p999, max) = (ms(p50), ms(p90), ms(p99), ms(p999), ms(max));
        write!(
            f,
            "half within {p50:.2} ms, 90 % {p90:.2}, 99 % {p99:.2}, 99.9 % {p999:.2}, all {max:.2}"
        )
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gaps, doubles, reorders, strays, missing, gap_events, lost } = *self;
        let all = [
            (gaps, "skipped"),
            (doubles, "twice"),
            (reorders, "out of order"),
            (strays, "of no use"),
            (missing, "missing"),
            (gap_events, "gaps reported"),
            (lost, "connections lost"),
        ];
        let found: Vec<_> = all
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        f.write_str(if found.is_empty() { "none" } else { "" })?;
        f.write_str(&found.join(", "))
    }
}
