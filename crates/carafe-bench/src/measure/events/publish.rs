//! Many publishers, and one subscriber.

use crate::figure::Limit;
use crate::outcome::Outcome;
use crate::section::Section;

use super::contestant::{AXUM, CARAFE, CENTRIFUGO, Contestant, FLOOR, MERCURE, NCHAN};
use super::setting::Setting;
use crate::contest::Contest;

const PUBLISHERS: usize = 64;
const WINDOW: usize = 256;

/// How long a round publishes, after one that warms the server up.
const SECONDS: u64 = 2;

const CONTESTANTS: [Contestant; 8] =
    [FLOOR, CARAFE, CARAFE.durable(), AXUM, NCHAN, MERCURE, MERCURE.durable(), CENTRIFUGO];

pub(super) fn measure(setting: &Setting) -> Outcome<Section> {
    let contest =
        Contest::run(&setting.bench, &CONTESTANTS, |contestant| publish(setting, contestant))?;
    let mut section = Section::new(format!(
        "{PUBLISHERS} publishers with {WINDOW} events in flight, one subscriber"
    ));
    contest.tabulate(
        &mut section,
        ["events a second", "µs of processor an event", "p99, ms", "load's share of a core"],
    );
    let demands = [(CARAFE, FLOOR, 0.8), (CARAFE.durable(), FLOOR, 0.7)]
        .into_iter()
        .chain([AXUM, NCHAN].map(|rival| (CARAFE, rival, 1.0)));
    for (one, other, least) in demands {
        let figure = ("events a second", 0);
        contest.demand(&mut section, figure, (one, other), Limit::AtLeast(least));
    }
    let same_time = |one| contest.ratio(FLOOR, one, 1);
    section.note(format!(
        "Events for the same processor time, on a machine that is not quiet the better measure: \
         Carafe / floor {}, durable {}.",
        same_time(CARAFE),
        same_time(CARAFE.durable())
    ));
    section.plot("Events a second of 64 publishers", contest.bars(0));
    Ok(section)
}

fn publish(setting: &Setting, contestant: Contestant) -> Outcome<[f64; 4]> {
    let running = contestant.start(setting)?;
    let server = &running.server;
    let options = format!(
        "-c 1 --publishers {PUBLISHERS} --window {WINDOW} --duration {}s --rounds 2",
        setting.bench.seconds(SECONDS)
    );
    let mut load = running.load(setting, &options)?;
    load.round()?;
    let start = server.processor()?;
    let report = load.round()?;
    let processor = (server.processor()? - start) * 1e6 / report.published as f64;
    let p99 = report.latency.p99 as f64 / 1000.0;
    Ok([report.deliveries_per_second, processor, p99, report.core])
}
