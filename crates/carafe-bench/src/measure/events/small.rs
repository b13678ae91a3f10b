//! Topics with few subscribers, at a fixed rate: what one event costs.

use crate::figure::Limit;
use crate::outcome::Outcome;
use crate::section::Section;

use super::audience::Audience;
use super::contestant::{AXUM, CARAFE, CENTRIFUGO, Contestant, FLOOR, MERCURE, NCHAN};
use super::setting::Setting;
use crate::contest::Contest;

/// Events per second.
const RATE: u64 = 2_000;

/// How long a round publishes, after one that warms the server up.
const SECONDS: u64 = 2;

const CONTESTANTS: [Contestant; 6] = [FLOOR, CARAFE, AXUM, NCHAN, MERCURE, CENTRIFUGO];

pub(super) fn one_to_one(setting: &Setting) -> Outcome<Section> {
    let contest = contest(setting, Audience::one_to_one(setting))?;
    Ok(section(Audience::one_to_one(setting), "an event", &contest, 1.4))
}

pub(super) fn ten(setting: &Setting) -> Outcome<Section> {
    let contest = contest(setting, Audience::ten(setting))?;
    Ok(section(Audience::ten(setting), "a delivery", &contest, 1.25))
}

fn contest(setting: &Setting, audience: Audience) -> Outcome<Contest<Contestant, 4>> {
    Contest::run(&setting.bench, &CONTESTANTS, |contestant| measure(setting, contestant, audience))
}

fn section(audience: Audience, unit: &str, contest: &Contest<Contestant, 4>, aim: f64) -> Section {
    let title = format!("{}, {RATE} events a second", audience.name());
    let mut section = Section::new(title.as_str());
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

fn measure(setting: &Setting, contestant: Contestant, audience: Audience) -> Outcome<[f64; 4]> {
    let running = contestant.start(setting)?;
    let server = &running.server;
    let options = format!("{} --rate {RATE}", audience.load(setting, SECONDS));
    let mut load = running.load(setting, &options)?;
    load.round()?;
    let start = server.processor()?;
    let report = load.round()?;
    let processor = (server.processor()? - start) * 1e6 / report.deliveries as f64;
    Ok([processor, report.latency.p50 as f64, report.latency.p999 as f64, report.core])
}
