//! All clients lose their hub at once, and come back.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::child::raise_descriptor_limit;
use crate::driver::{Load, Report};
use crate::figure::Limit;
use crate::outcome::Outcome;
use crate::results::Results;
use crate::section::Section;
use crate::series::Series;
use crate::server::{Server, carafe};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many clients each hub has
    #[arg(long, default_value_t = 18_000)]
    clients: usize,
    /// How many hubs are killed at once; once more with six of them, and 100,000 clients, unless
    /// this is given
    #[arg(long)]
    hubs: Option<usize>,
    /// Fail if a demand is missed
    #[arg(long)]
    check: bool,
    /// The program to measure
    #[arg(long)]
    carafe: Option<PathBuf>,
}

/// A hub on disk with its clients.
struct Pair {
    server: Server,
    clients: Clients,
}

/// What outlives the hub.
struct Clients {
    folder: TempDir,
    address: SocketAddr,
    load: Load,
    /// Bytes that the hub had in memory.
    steady: u64,
}

pub(crate) fn measure(options: &Options) -> Outcome {
    raise_descriptor_limit()?;
    let carafe = carafe(options.carafe.as_deref())?;
    let mut results = Results::new(false);
    let runs = match options.hubs {
        Some(hubs) => vec![(hubs, options.clients)],
        None => vec![(1, options.clients), (6, options.clients.min(16_667))],
    };
    for (hubs, clients) in runs {
        let section = storm(&carafe, hubs, clients)?;
        results.add(section);
    }
    results.finish(None, options.check)
}

fn storm(carafe: &Path, hubs: usize, clients: usize) -> Outcome<Section> {
    let mut pairs = (0..hubs).map(|_| Pair::start(carafe, clients)).collect::<Outcome<Vec<_>>>()?;
    pairs.iter().try_for_each(|pair| pair.clients.load.wait_until_connected())?;
    pairs.iter_mut().try_for_each(Pair::begin)?;
    let killed = pairs.into_iter().map(Pair::kill).collect::<Outcome<Vec<_>>>()?;
    let mut pairs =
        killed.into_iter().map(|clients| clients.restart(carafe)).collect::<Outcome<Vec<_>>>()?;
    pairs.iter_mut().try_for_each(|pair| pair.clients.load.go())?;
    let reports =
        pairs.iter().map(|pair| pair.clients.load.report()).collect::<Outcome<Vec<_>>>()?;
    let memory =
        pairs.iter().map(|pair| Ok((pair.clients.steady as f64, pair.server.peak()? as f64)));
    Ok(section(hubs, clients, &reports, &memory.collect::<Outcome<Vec<_>>>()?))
}

/// It was checked that all have resumed exactly, or there would be no reports.
fn section(hubs: usize, clients: usize, reports: &[Report], memory: &[(f64, f64)]) -> Section {
    let mut section =
        Section::new(format!("Storm: SIGKILL of {hubs} hubs with {clients} clients each"));
    let seconds = |micros: fn(&Report) -> u64| {
        Series::of(reports.iter().map(|report| micros(report) as f64 / 1e6))
    };
    let back: u64 = reports.iter().map(|report| report.reconnects).sum();
    section.note(format!(
        "{back} reconnected and resumed exactly; the last after {} s.",
        seconds(|report| report.reconnect.max)
    ));
    let mega = |of: fn(&(f64, f64)) -> f64| {
        Series::of(memory.iter().map(|pair| of(pair) / 1e6)).to_string()
    };
    section.note(format!(
        "MB resident in a hub: {} before, {} at most meanwhile.",
        mega(|(steady, _)| *steady),
        mega(|(_, peak)| *peak)
    ));
    section.demand(
        "seconds until 95 % are back",
        seconds(|report| report.reconnect.p95),
        Limit::AtMost(15.0),
    );
    let spikes = memory.iter().map(|(steady, peak)| peak / steady);
    section.demand("most memory meanwhile / steady state", Series::of(spikes), Limit::AtMost(2.0));
    section
}

impl Pair {
    fn start(carafe: &Path, clients: usize) -> Outcome<Self> {
        fs::create_dir_all("target/bench")?;
        let folder = tempfile::tempdir_in("target/bench")?;
        let server = Server::carafe(carafe, &["--log", &log(&folder)], None)?;
        let options = format!("-c {clients} -n 20 --rate 10 --rounds 2 --resume --timeout 120s");
        let load = Load::start(&server.url("/events/bench"), &options, None)?;
        let address = server.address;
        Ok(Self { server, clients: Clients { folder, address, load, steady: 0 } })
    }

    fn begin(&mut self) -> Outcome {
        self.clients.load.round()?;
        self.clients.steady = self.server.memory()?.resident;
        Ok(())
    }

    fn kill(self) -> Outcome<Clients> {
        self.server.kill()?;
        Ok(self.clients)
    }
}

impl Clients {
    /// Starts the hub again on the same log and address. Events are published while the clients
    /// come back.
    fn restart(self, carafe: &Path) -> Outcome<Pair> {
        let options = ["--log", &log(&self.folder), "--listen", &self.address.to_string()];
        Ok(Pair { server: Server::carafe(carafe, &options, None)?, clients: self })
    }
}

fn log(folder: &TempDir) -> String {
    format!("disk:{}", folder.path().display())
}
