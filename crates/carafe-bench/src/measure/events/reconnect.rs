//! Streams that are closed and opened again.

use crate::churned::{CONNECTIONS, Churned, RECONNECTS};
use crate::figure::Limit;
use crate::outcome::Outcome;
use crate::section::Section;

use super::contestant::{AXUM, CARAFE, CENTRIFUGO, Contestant, FLOOR, MERCURE, NCHAN};
use super::setting::Setting;
use crate::contest::Contest;

/// How long streams are reconnected, after the same time that warms the server up.
const SECONDS: u64 = 2;

const CONTESTANTS: [Contestant; 6] = [FLOOR, CARAFE, AXUM, NCHAN, MERCURE, CENTRIFUGO];

pub(super) fn measure(setting: &Setting) -> Outcome<Section> {
    let contest = Contest::run(&setting.bench, &CONTESTANTS, |contestant| {
        let running = contestant.start(setting)?;
        let (server, url, arguments) = (&running.server, &running.url, &running.arguments);
        let seconds = setting.bench.seconds(SECONDS);
        let churned = Churned::measure(&setting.bench, server, url, arguments, seconds)?;
        Ok([churned.processor, churned.core])
    })?;
    let mut section = Section::new(format!(
        "Close, connect and subscribe: {CONNECTIONS} streams, {RECONNECTS} reconnects a second"
    ));
    let figure = "µs of processor a reconnect";
    contest.tabulate(&mut section, [figure, "load's share of a core"]);
    for (rival, most) in [(FLOOR, 1.4), (AXUM, 1.0), (NCHAN, 1.0)] {
        let figure = ("processor time of a reconnect", 0);
        contest.demand(&mut section, figure, (CARAFE, rival), Limit::AtMost(most));
    }
    section.plot(format!("Reconnecting: {figure}"), contest.bars(0));
    Ok(section)
}
