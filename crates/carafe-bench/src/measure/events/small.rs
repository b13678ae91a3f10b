//! Topics with few subscribers, at a fixed rate: what one event costs.

use crate::figure::Limit;
use crate::outcome::Outcome;
use crate::section::Section;

use super::contest::Contest;
use super::contestant::{AXUM, CARAFE, CENTRIFUGO, Contestant, FLOOR, MERCURE, NCHAN};
use super::setting::Setting;

/// Events per second, over this many connections.
const RATE: u64 = 2_000;
const PUBLISHERS: usize = 64;

/// How long a round publishes, after one that warms the server up.
const SECONDS: u64 = 3;

const CONTESTANTS: [Contestant; 6] = [FLOOR, CARAFE, AXUM, NCHAN, MERCURE, CENTRIFUGO];

pub(super) fn one_to_one(setting: &Setting) -> Outcome<Section> {
    let topics = setting.bench.connections(2_000);
    let title = format!("{topics} topics with one subscriber each, {RATE} events a second");
    let contest =
        Contest::run(&setting.bench, &CONTESTANTS, |it| measure(setting, it, topics, topics))?;
    Ok(section(&title, "an event", &contest, 1.4))
}

pub(super) fn ten(setting: &Setting) -> Outcome<Section> {
    let topics = setting.bench.connections(1_000);
    let title = format!("{topics} topics with ten subscribers each, {RATE} events a second");
    let contest =
        Contest::run(&setting.bench, &CONTESTANTS, |it| measure(setting, it, 10 * topics, topics))?;
    Ok(section(&title, "a delivery", &contest, 1.25))
}

fn section(title: &str, unit: &str, contest: &Contest<4>, aim: f64) -> Section {
    let mut section = Section::new(title);
    let processor = format!("µs of processor {unit}");
    contest.tabulate(
        &mut section,
        [&processor, "latency, p50, µs", "p99.9, µs", "load's share of a core"],
    );
    for (rival, most) in [(FLOOR, aim), (AXUM, 1.0), (NCHAN, 1.0)] {
        let figure = format!("processor time of {unit}");
        contest.demand(&mut section, (&figure, 0), (CARAFE, rival), Limit::AtMost(most));
    }
    section.plot(format!("{title}: {processor}"), contest.bars(0));
    section
}

fn measure(
    setting: &Setting,
    contestant: Contestant,
    subscribers: usize,
    topics: usize,
) -> Outcome<[f64; 4]> {
    let running = contestant.start(setting)?;
    let server = &running.server;
    let options = format!(
        "-c {subscribers} --topics {topics} --publishers {PUBLISHERS} --rate {RATE} \
         --duration {}s --rounds 2",
        setting.bench.seconds(SECONDS)
    );
    let mut load = running.load(setting, &options)?;
    load.round()?;
    let start = server.processor()?;
    let report = load.round()?;
    let processor = (server.processor()? - start) * 1e6 / report.deliveries as f64;
    Ok([processor, report.latency.p50 as f64, report.latency.p999 as f64, report.core])
}
