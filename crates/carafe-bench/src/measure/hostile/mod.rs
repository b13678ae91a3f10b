//! All attacks at once on a hub that has honest clients: `cargo xtask hostile`.

mod formula;
mod health;
mod limits;
mod setting;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::attack::{Attack, Attacking, Report};
use crate::child::raise_descriptor_limit;
use crate::figure::Limit;
use crate::honest::{Delivered, Honest, Published};
use crate::outcome::Outcome;
use crate::results::Results;
use crate::section::Section;
use crate::series::Series;
use crate::server::carafe;
use crate::shape::permille;

use health::Health;
use setting::Setting;

/// Honest subscribers; there are 20 publishers.
const SUBSCRIBERS: usize = 500;

/// Publishing without attacks is measured before and afterwards, each for a part of the time.
const PART: f64 = 0.25;

/// After the attacks, until their last requests are over.
const CALM: Duration = Duration::from_secs(3);

#[derive(clap::Args)]
pub(crate) struct Options {
    /// What is done to the hub [default: everything]
    attacks: Vec<Attack>,
    /// How long the attacks last
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// The program to attack
    #[arg(long)]
    carafe: Option<PathBuf>,
}

/// What was found.
struct Found {
    published: Published,
    delivered: Delivered,
    reports: Vec<Report>,
    health: Health,
    /// When the attacks began, and ended.
    attacks: (Instant, Instant),
    start: Instant,
    /// Bytes, most of all time.
    peak: u64,
    most: u64,
}

pub(crate) fn run(options: &Options) -> Outcome {
    raise_descriptor_limit()?;
    let carafe = carafe(options.carafe.as_deref())?;
    let all = Attack::value_variants();
    let attacks = if options.attacks.is_empty() { all } else { &options.attacks };
    let found = attack(&Setting::new(&carafe)?, attacks, Duration::from_secs(options.seconds))?;
    let mut results = Results::new(false);
    for section in [found.of_attacks(), found.of_honest()] {
        results.add(section);
    }
    results.finish(None, true)
}

fn attack(setting: &Setting, attacks: &[Attack], time: Duration) -> Outcome<Found> {
    let hub = setting.start_hub()?;
    let honest = Honest::start(hub.address, SUBSCRIBERS, &setting.tokens)?;
    let start = Instant::now();
    thread::sleep(time.mul_f64(PART).max(Duration::from_secs(5)));
    let health = Health::watch(hub.address);
    let began = Instant::now();
    println!("{} attacks for {} s", attacks.len(), time.as_secs());
    let attacking =
        Attacking::start(hub.address, attacks, time, &setting.attackers_token, setting.others)?;
    let reports = attacking.reports()?;
    let ended = Instant::now();
    thread::sleep(CALM);
    let health = health.finish()?;
    let (published, delivered) = honest.finish()?;
    let (peak, most) = (hub.peak()?, limits::memory()?);
    Ok(Found { published, delivered, reports, health, attacks: (began, ended), start, peak, most })
}

impl Found {
    fn of_attacks(&self) -> Section {
        let mut section =
            Section::new("What the attackers did, and how often the hub answered what");
        section.head(&["attack", "attempts", "outcome", "times"]);
        for Report { attack, attempts, outcomes } in &self.reports {
            let mut first = [attack.name(), attempts.to_string()];
            if outcomes.is_empty() {
                section.row([&first[..], &["under way at the end".into(), String::new()]].concat());
            }
            for (outcome, times) in outcomes {
                let [attack, attempts] = std::mem::take(&mut first);
                section.row(vec![attack, attempts, outcome.clone(), times.to_string()]);
            }
        }
        section
    }

    fn of_honest(&self) -> Section {
        let Self { published, delivered, health, .. } = self;
        let undisturbed = published.between(self.start, self.attacks.0);
        let meanwhile = published.between(self.attacks.0, self.attacks.1);
        let mut section = Section::new("What honest clients saw of it");
        section.head(&["", "publications", "p50, ms", "p99, ms", "longest, ms"]);
        for (name, rising) in [("undisturbed", &undisturbed), ("under attack", &meanwhile)] {
            let ms = |of| format!("{:.2}", permille(rising, of) * 1e3);
            section.row(vec![name.into(), rising.len().to_string(), ms(500), ms(990), ms(1000)]);
        }
        section.note(format!(
            "{SUBSCRIBERS} subscribers got {} events, and resumed {} times: {}. Of publications, \
             {} were rejected for now, {} were not answered; all were acknowledged in the end.",
            delivered.events, delivered.resumed, delivered.faults, published.refused, published.cut
        ));
        let one = |value: f64| Series::of([value]);
        let faults = delivered.faults.count() as f64;
        section.demand(
            "events lost, doubled, out of order or reported as a gap",
            one(faults),
            Limit::AtMost(0.0),
        );
        let ratio = permille(&meanwhile, 990) / permille(&undisturbed, 990);
        section.demand(
            "p99 of honest publishing, under attack / undisturbed",
            one(ratio),
            Limit::AtMost(10.0),
        );
        let failed = health.failed as f64;
        section.demand(
            format!("of {} looks at /healthz, failed", health.looks),
            one(failed),
            Limit::AtMost(0.0),
        );
        let longest = health.longest.as_secs_f64();
        section.demand("longest answer of /healthz, s", one(longest), Limit::AtMost(1.0));
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        section.demand(
            "most memory of the hub, MiB",
            one(mib(self.peak)),
            Limit::AtMost(mib(self.most).round()),
        );
        section
    }
}
