//! TLS clients that come back: processor time of a connection and its stream, compared with that of
//! the handshake alone.

use crate::churned::Churned;
use crate::driver::Load;
use crate::figure::Limit;
use crate::handshakes::Handshakes;
use crate::outcome::Outcome;
use crate::section::Section;
use crate::series::Series;

use super::contestant::CARAFE;
use super::setting::Setting;

/// Clients that connect at once. A process has descriptors for so many on most machines.
const CLIENTS: usize = 10_000;

/// How often they do.
const TIMES: usize = 2;

/// How long clients reconnect one by one: 20,000 times in all.
const SECONDS: u64 = 10;

/// Handshakes in memory.
const HANDSHAKES: u32 = 2_000;

pub(super) fn measure(setting: &Setting) -> Outcome<Section> {
    let clients = setting.bench.connections(CLIENTS);
    let rounds = || 0..setting.bench.rounds;
    let [mut storms, mut full, mut resumed] = [(); 3].map(|()| Rows::default());
    for _ in rounds() {
        let handshake = bare(setting, false)?;
        storms.add(handshake, storm(setting, clients)?);
        full.add(handshake, churn(setting, false)?);
        resumed.add(bare(setting, true)?, churn(setting, true)?);
    }
    let mut section = Section::new(format!(
        "TLS clients come back: {TIMES} × {clients} at once, and 2,000 a second"
    ));
    section.head(&["", "rustls in memory, µs of processor", "Carafe, µs of processor", "ratio"]);
    section.row(storms.cells("full handshake, all at once"));
    section.row(full.cells("full handshake, one by one"));
    section.row(resumed.cells("resumed session, one by one"));
    for (name, rows) in [("full handshake", &storms), ("resumed session", &resumed)] {
        let name = format!("processor time of a reconnect, {name}, Carafe / rustls in memory");
        section.demand(name, rows.ratio(), Limit::AtMost(1.5));
    }
    let saved = Series::ratio(&resumed.carafe, &full.carafe);
    section.note(format!("One by one, a reconnect with a ticket takes {saved} of one without."));
    Ok(section)
}

fn bare(setting: &Setting, resumed: bool) -> Outcome<f64> {
    Handshakes::new(&setting.certificate, resumed)?.measure(HANDSHAKES)
}

/// Of all clients, each time with a new process: connections are closed, too.
fn storm(setting: &Setting, clients: usize) -> Outcome<f64> {
    let running = CARAFE.tls().start(setting)?;
    // What is allocated once is not counted.
    drop(running.load(setting, "-c 100")?);
    let start = running.server.processor()?;
    for _ in 0..TIMES {
        let mut load: Load = running.load(setting, &format!("-c {clients}"))?;
        load.begin_to_kill()?;
    }
    Ok((running.server.processor()? - start) * 1e6 / (TIMES * clients) as f64)
}

/// One by one. Each connection that is closed has been established, so its ticket is at hand.
fn churn(setting: &Setting, resumed: bool) -> Outcome<f64> {
    let mut running = CARAFE.tls().start(setting)?;
    running.arguments.extend(resumed.then(|| "--tls-tickets".into()));
    let (server, url, arguments) = (&running.server, &running.url, &running.arguments);
    let seconds = setting.bench.seconds(SECONDS);
    Ok(Churned::measure(&setting.bench, server, url, arguments, seconds)?.processor)
}

/// Microseconds, round by round.
#[derive(Default)]
struct Rows {
    bare: Vec<f64>,
    carafe: Vec<f64>,
}

impl Rows {
    fn add(&mut self, bare: f64, carafe: f64) {
        self.bare.push(bare);
        self.carafe.push(carafe);
    }

    fn ratio(&self) -> Series {
        Series::ratio(&self.carafe, &self.bare)
    }

    fn cells(&self, name: &str) -> Vec<String> {
        let series = |values: &[f64]| Series::of(values.iter().copied()).to_string();
        vec![name.into(), series(&self.bare), series(&self.carafe), self.ratio().to_string()]
    }
}
