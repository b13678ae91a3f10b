//! TLS 1.3: memory of a stream, and processor time of a delivery.

use crate::deliveries::Deliveries;
use crate::figure::Limit;
use crate::outcome::Outcome;
use crate::section::Section;

use super::contestant::{CARAFE, Contestant, MERCURE, NCHAN};
use super::setting::Setting;
use crate::contest::Contest;

const STREAMS: usize = 2_000;

/// Streams of a connection, where there are several.
const MANY: usize = 50;

/// How long a round publishes, with one event in flight.
const SECONDS: u64 = 2;

const PROCESSOR: usize = 0;
const AFTER: usize = 2;

const HEAD: [&str; 5] = [
    "µs of processor a delivery",
    "bytes a stream, idle",
    "after traffic",
    "deliveries a second",
    "load's share of a core",
];

type Found = Contest<Contestant, 5>;

pub(super) fn http1(setting: &Setting) -> Outcome<Section> {
    let streams = setting.bench.connections(STREAMS);
    let contestants = [CARAFE, CARAFE.tls(), NCHAN.tls(), MERCURE.tls()];
    let found = Contest::run(&setting.bench, &contestants, |contestant| {
        deliver(setting, contestant, &format!("-c {streams}"))
    })?;
    let mut section = section(&format!("TLS, HTTP/1.1: {streams} streams"), &found);
    bytes(&mut section, &found, 3000.0);
    let figure = ("processor time of a delivery", PROCESSOR);
    found.demand(&mut section, figure, (CARAFE.tls(), CARAFE), Limit::AtMost(1.25));
    rivals(&mut section, &found);
    Ok(section)
}

pub(super) fn http2_one(setting: &Setting) -> Outcome<Section> {
    let connections = setting.bench.connections(STREAMS);
    let found = http2(setting, &format!("-c {connections} --http2 1"))?;
    let title = format!("TLS, HTTP/2: {connections} connections of one stream");
    let mut section = section(&title, &found);
    bytes(&mut section, &found, 8000.0);
    microseconds(&mut section, &found, 10.0);
    rivals(&mut section, &found);
    Ok(section)
}

pub(super) fn http2_many(setting: &Setting) -> Outcome<Section> {
    let connections = setting.bench.connections(STREAMS / MANY);
    let found = http2(setting, &format!("-c {} --http2 {MANY}", connections * MANY))?;
    let title = format!("TLS, HTTP/2: {connections} connections of {MANY} streams");
    let mut section = section(&title, &found);
    bytes(&mut section, &found, 1000.0);
    microseconds(&mut section, &found, 6.5);
    rivals(&mut section, &found);
    Ok(section)
}

fn http2(setting: &Setting, streams: &str) -> Outcome<Found> {
    Contest::run(&setting.bench, &[CARAFE.tls(), NCHAN.tls(), MERCURE.tls()], |contestant| {
        deliver(setting, contestant, streams)
    })
}

fn deliver(setting: &Setting, contestant: Contestant, streams: &str) -> Outcome<[f64; 5]> {
    let running = contestant.start(setting)?;
    let options = format!("{streams} --duration {}s", setting.bench.seconds(SECONDS));
    let (server, url, arguments) = (&running.server, &running.url, &running.arguments);
    let it = Deliveries::measure(&setting.bench, server, url, &options, arguments)?;
    Ok([it.processor, it.idle, it.after, it.report.deliveries_per_second, it.report.core])
}

fn section(title: &str, found: &Found) -> Section {
    let mut section = Section::new(format!("{title} of one topic"));
    found.tabulate(&mut section, HEAD);
    section.plot(format!("{title}: µs of processor a delivery"), found.bars(PROCESSOR));
    section.plot(format!("{title}: bytes a stream after traffic"), found.bars(AFTER));
    section
}

fn bytes(section: &mut Section, found: &Found, most: f64) {
    let name = "bytes a stream after traffic, Carafe";
    section.demand(name, found.series(CARAFE.tls(), AFTER), Limit::AtMost(most));
}

fn microseconds(section: &mut Section, found: &Found, most: f64) {
    let name = "µs of processor a delivery, Carafe";
    section.demand(name, found.series(CARAFE.tls(), PROCESSOR), Limit::AtMost(most));
}

fn rivals(section: &mut Section, found: &Found) {
    for (figure, column) in [("processor time of a delivery", PROCESSOR), ("bytes", AFTER)] {
        let pair = (CARAFE.tls(), NCHAN.tls());
        found.demand(section, (figure, column), pair, Limit::AtMost(1.0));
    }
}
