//! The time from publish to receipt, at shares of the maximum rate.

use crate::figure::Limit;
use crate::outcome::Outcome;
use crate::section::Section;

use super::audience::Audience;
use super::contestant::{AXUM, CARAFE, Contestant, FLOOR};
use super::setting::Setting;
use crate::contest::Contest;

/// The maximum rate is that with so many events in flight.
const WINDOW: usize = 256;

/// How long the maximum is measured, and how long events are published at each rate.
const SECONDS: u64 = 2;

/// Percent of the maximum rate.
const SHARES: [f64; 3] = [10.0, 50.0, 90.0];

const CONTESTANTS: [Contestant; 3] = [FLOOR, CARAFE, AXUM];

/// For each share, two quantiles; and the load's share of its core at the highest.
const HEAD: [&str; 7] = [
    "10 %: p50, µs",
    "p99.9, µs",
    "50 %: p50, µs",
    "p99.9, µs",
    "90 %: p50, µs",
    "p99.9, µs",
    "load's share of a core",
];

pub(super) fn measure(setting: &Setting, audience: Audience) -> Outcome<Section> {
    let maximum = common_maximum(setting, audience)?;
    let contest = Contest::run(&setting.bench, &CONTESTANTS, |contestant| {
        latencies(setting, contestant, audience, maximum)
    })?;
    let title = format!("Latency from publish to receipt: {}", audience.name());
    let mut section = Section::new(title);
    contest.tabulate(&mut section, HEAD);
    section.note(format!(
        "At shares of {maximum:.0} events a second: the lower of the maximum rates of {CARAFE} and \
         {AXUM}, with {WINDOW} events in flight."
    ));
    for (share, column) in SHARES.iter().zip((0..).step_by(2)) {
        for (quantile, column) in [("p50", column), ("p99.9", column + 1)] {
            let figure = format!("{quantile} at {share} %");
            let pair = (CARAFE, AXUM);
            contest.demand(&mut section, (&figure, column), pair, Limit::AtMost(1.0));
        }
    }
    Ok(section)
}

/// A rate that both rivals keep up with.
fn common_maximum(setting: &Setting, audience: Audience) -> Outcome<f64> {
    let maximum = |contestant: Contestant| {
        maximum(setting, contestant, audience).map_err(|error| format!("{contestant}: {error}"))
    };
    Ok(maximum(CARAFE)?.min(maximum(AXUM)?))
}

/// Events per second.
fn maximum(setting: &Setting, contestant: Contestant, audience: Audience) -> Outcome<f64> {
    let running = contestant.start(setting)?;
    let options = format!("{} --window {WINDOW}", audience.load(setting, SECONDS));
    let mut load = running.load(setting, &options)?;
    load.round()?;
    Ok(load.round()?.deliveries_per_second / audience.subscribers as f64)
}

fn latencies(
    setting: &Setting,
    contestant: Contestant,
    audience: Audience,
    maximum: f64,
) -> Outcome<[f64; 7]> {
    let running = contestant.start(setting)?;
    let mut figures = [0.0; 7];
    for (share, place) in SHARES.iter().zip((0..).step_by(2)) {
        let rate = maximum * share / 100.0;
        let options = format!("{} --rate {rate:.0}", audience.load(setting, SECONDS));
        let mut load = running.load(setting, &options)?;
        load.round()?;
        let report = load.round()?;
        figures[place] = report.latency.p50 as f64;
        figures[place + 1] = report.latency.p999 as f64;
        figures[6] = report.core;
    }
    Ok(figures)
}
