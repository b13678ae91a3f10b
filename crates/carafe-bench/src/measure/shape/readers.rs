//! Publish latency while clients read the log in every way that costs the hub work.

use std::net::Ipv4Addr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use carafe_log::{DiskOptions, Publication};
use carafe_protocol::Topic;

use crate::attack::{Attack, Attacking};
use crate::figure::Limit;
use crate::filling::Filling;
use crate::outcome::Outcome;
use crate::section::Section;
use crate::series::Series;
use crate::server::Server;
use crate::wire;

use super::bench::{Bench, amount, permille};

/// Topics of the log, all in its newest segment.
const TOPICS: u64 = 500_000;

/// How long each side of a round publishes, and how often.
const TURN: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(10);

/// Rounds, each with hubs of its own.
const ROUNDS: usize = 3;

/// Attackers begin, and work goes up to where it stays.
const WARM_UP: Duration = Duration::from_secs(1);

/// What was measured of one side, in seconds, and by round.
#[derive(Default)]
struct Side {
    publications: usize,
    median: Vec<f64>,
    p999: Vec<f64>,
    longest: Vec<f64>,
}

pub(crate) fn measure(bench: &Bench) -> Outcome<Section> {
    let (topics, folder) = (bench.size(TOPICS), bench.folder()?);
    fill(folder.path(), topics)?;
    let (mut without, mut with) = (Side::default(), Side::default());
    let mut attempts = 0;
    for _ in 0..bench.rounds.min(ROUNDS) {
        without.turn(bench, folder.path(), &[])?;
        attempts += with.turn(bench, folder.path(), &[Attack::LogReaders])?;
    }
    let mut section = Section::new(format!(
        "Publishing while 20 clients read a log of {} topics",
        amount(topics)
    ));
    section.head(&["", "publications", "p50, ms", "p99.9, ms", "longest, ms"]);
    section.row(without.row("without them"));
    section.row(with.row("with them"));
    section.note(format!(
        "They made {attempts} requests: the last event of 100 complex patterns, replays by \
         pattern, resumes from the oldest event, unknown IDs."
    ));
    let p50 = Series::ratio(&with.median, &without.median);
    section.demand(
        "p50 of publishing, with clients that read the log / without",
        p50,
        Limit::AtMost(3.0),
    );
    let p999 = Series::ratio(&with.p999, &without.p999);
    section.demand(
        "p99.9 of publishing, with clients that read the log / without",
        p999,
        Limit::AtMost(10.0),
    );
    Ok(section)
}

fn fill(folder: &Path, topics: u64) -> Outcome {
    let topic =
        |number: u64| Some(Publication::new(Topic::new(&format!("dev/{number:07}")).ok()?, "x"));
    Filling::open(folder, DiskOptions::default())?.append((0..topics).filter_map(topic))
}

impl Side {
    /// Publishes to a hub of its own for a while, under these attacks. Gives the attempts of these.
    fn turn(&mut self, bench: &Bench, folder: &Path, attacks: &[Attack]) -> Outcome<u64> {
        let log = format!("disk:{}", folder.display());
        let server = Server::carafe(&bench.carafe, &["--log", &log, "--mercure"], None)?;
        let turn = if bench.quick { TURN / 4 } else { TURN };
        let attacking = (!attacks.is_empty())
            .then(|| Attacking::start(server.address, attacks, WARM_UP + turn, "", None))
            .transpose()?;
        thread::sleep(WARM_UP);
        let rising = publish_for(&server, turn)?;
        self.publications += rising.len();
        self.median.push(permille(&rising, 500));
        self.p999.push(permille(&rising, 999));
        self.longest.push(permille(&rising, 1000));
        let reports = attacking.map(Attacking::reports).transpose()?.unwrap_or_default();
        // What it has begun for the attackers does not end with them, but with the process.
        server.kill()?;
        Ok(reports.iter().map(|report| report.attempts).sum())
    }

    fn row(&self, name: &str) -> Vec<String> {
        let ms =
            |values: &[f64]| Series::of(values.iter().map(|seconds| seconds * 1e3)).to_string();
        vec![
            name.into(),
            self.publications.to_string(),
            ms(&self.median),
            ms(&self.p999),
            ms(&self.longest),
        ]
    }
}

/// Publishes at a pace, and gives in rising order how long after it was due each publication was
/// answered.
fn publish_for(server: &Server, time: Duration) -> Outcome<Vec<f64>> {
    let mut socket = wire::connect(Ipv4Addr::new(127, 2, 255, 1), server.address, wire::PATIENCE)?;
    let start = Instant::now();
    let (mut due, mut all) = (start, Vec::new());
    while due < start + time {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        wire::post(&mut socket, "/events/bench", &[], b"x")?.expect(201)?;
        all.push(due.elapsed().as_secs_f64());
        due += INTERVAL;
        // A publication that took very long is one event of those that would have been, and ends
        // the turn.
        if start.elapsed() > 2 * time {
            break;
        }
    }
    all.sort_unstable_by(f64::total_cmp);
    Ok(all)
}
