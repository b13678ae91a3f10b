//! What it costs to read history by pattern, by the number of topics.

use std::time::{Duration, Instant};

use carafe_hub::{Delivery, Hub, HubLimits, Start, Subscribe};
use carafe_log::{DiskLog, DiskOptions, Publication};
use carafe_protocol::{Topic, TopicMatcher, TopicPattern};
use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::figure::Limit;
use crate::filling::Filling;
use crate::outcome::Outcome;
use crate::section::{Curve, Section};
use crate::series::Series;

use super::bench::Bench;

const FEW: u64 = 1_000;
const MANY: u64 = 1_000_000;

/// Entries of either log, so that only the number of topics differs.
const ENTRIES: u64 = 1_000_000;
const DATA: usize = 100;

/// Matches every topic.
const ALL: &str = "dev/*";

/// Match no topic, one simple and one not: all names have to be looked at.
const NONE: [&str; 2] = ["none/:id", "none/(\\d+)x"];

/// A memory of recent events so small that all is read from the log.
const RING: usize = 64 << 10;

/// Looks at the newest event in one turn.
const LOOKS: usize = 5;

/// A log with so many topics, and what was measured of it, round by round.
struct Topics {
    topics: u64,
    hub: Hub,
    runtime: Runtime,
    replay: Vec<f64>,
    without: Vec<f64>,
    last: Vec<f64>,
    none: [Vec<f64>; NONE.len()],
    _folder: TempDir,
}

pub(crate) fn measure(bench: &Bench) -> Outcome<Section> {
    let entries = bench.size(ENTRIES);
    let topics = [bench.size(FEW), bench.size(MANY)];
    let all = topics.map(|topics| Topics::fill(bench, topics, entries)).into_iter();
    let mut all = all.collect::<Outcome<Vec<_>>>()?;
    for _ in 0..bench.rounds {
        all.iter_mut().try_for_each(|topics| topics.turn(bench))?;
    }
    Ok(section(&all))
}

/// What is measured of a log, and the factor from seconds to what the column shows.
type Column = (&'static str, f64, fn(&Topics) -> &Vec<f64>);

const COLUMNS: [Column; 5] = [
    ("replay by pattern, ns an event", 1e9, |topics| &topics.replay),
    ("replay of everything, ns an event", 1e9, |topics| &topics.without),
    ("`last=1` that matches, µs", 1e6, |topics| &topics.last),
    ("`last=1`, simple, no match, µs", 1e6, |topics| &topics.none[0]),
    ("`last=1`, complex, no match, µs", 1e6, |topics| &topics.none[1]),
];

fn section(all: &[Topics]) -> Section {
    let mut section = Section::new("History by pattern, by the number of topics");
    section
        .head(&std::iter::once("topics").chain(COLUMNS.map(|(name, ..)| name)).collect::<Vec<_>>());
    for topics in all {
        let cell = |(_, scale, of): Column| {
            Series::of(of(topics).iter().map(|seconds| seconds * scale)).to_string()
        };
        section.row(
            std::iter::once(super::bench::amount(topics.topics)).chain(COLUMNS.map(cell)).collect(),
        );
    }
    let [few, many] = all else { return section };
    let factor = many.topics as f64 / few.topics as f64;
    let ratio = |(_, _, of): Column| Series::ratio(of(many), of(few));
    for (what, column) in [
        ("replay by pattern, for each event delivered,", COLUMNS[0]),
        ("`last=1` of a pattern that matches", COLUMNS[2]),
    ] {
        let name = format!(
            "{what} at {} topics / at {}",
            super::bench::amount(many.topics),
            super::bench::amount(few.topics)
        );
        section.demand(name, ratio(column), Limit::AtMost(2.0));
    }
    for column in COLUMNS {
        let (name, _) = column.0.rsplit_once(", ").unwrap_or((column.0, ""));
        let points = vec![(1.0, 1.0), (factor, ratio(column).median())];
        section.curve(Curve { name: name.replace('`', ""), points });
    }
    section
}

impl Topics {
    fn fill(bench: &Bench, topics: u64, entries: u64) -> Outcome<Self> {
        let folder = bench.folder()?;
        let mut filling = Filling::open(folder.path(), DiskOptions::default())?;
        let data = "x".repeat(DATA);
        let topic = |number: u64| Topic::new(&format!("dev/{:07}", number % topics)).ok();
        filling.append(
            (0..entries).filter_map(|number| Some(Publication::new(topic(number)?, &*data))),
        )?;
        drop(filling);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let limits = HubLimits::default().with_ring_bytes(RING);
        let log = DiskLog::open(folder.path(), DiskOptions::default())?;
        let hub = runtime.block_on(async { Hub::with_limits(log, limits) });
        let (replay, without, last) = <(Vec<_>, Vec<_>, Vec<_>)>::default();
        Ok(Self {
            topics,
            hub,
            runtime,
            replay,
            without,
            last,
            none: Default::default(),
            _folder: folder,
        })
    }

    fn turn(&mut self, bench: &Bench) -> Outcome {
        let (turn, entries) = (bench.turn(), bench.size(ENTRIES));
        let replay = self.replay(&matcher(ALL)?, entries, turn)?;
        let without = self.replay(&TopicMatcher::any(), entries, turn)?;
        self.replay.push(replay);
        self.without.push(without);
        let last = self.last(ALL, 1, turn)?;
        self.last.push(last);
        for (at, pattern) in NONE.into_iter().enumerate() {
            let none = self.last(pattern, 0, turn)?;
            self.none[at].push(none);
        }
        Ok(())
    }

    /// Seconds for an event, of so many or of as many as the time allows.
    fn replay(&self, wanted: &TopicMatcher, entries: u64, turn: Duration) -> Outcome<f64> {
        self.runtime.block_on(async {
            let start = Instant::now();
            let mut subscription =
                self.hub.subscribe(Subscribe::to(wanted.clone()).from(Start::Earliest)).await?;
            let mut delivered = 0_u64;
            while delivered < entries && start.elapsed() < turn {
                match subscription.next().await {
                    Some(Delivery::Entry(_)) => delivered += 1,
                    Some(_) => {}
                    None => return Err("the replay has ended early".into()),
                }
            }
            Ok(start.elapsed().as_secs_f64() / delivered as f64)
        })
    }

    /// Seconds until the last event that matches is there, or it is known that there is none; the
    /// median of some.
    fn last(&self, pattern: &str, expected: usize, turn: Duration) -> Outcome<f64> {
        let (end, mut all) = (Instant::now() + turn / 3, Vec::new());
        while all.len() < LOOKS && (all.is_empty() || Instant::now() < end) {
            all.push(self.runtime.block_on(self.look(matcher(pattern)?, expected))?);
        }
        Ok(Series::of(all).median())
    }

    async fn look(&self, wanted: TopicMatcher, expected: usize) -> Outcome<f64> {
        let start = Instant::now();
        let mut subscription =
            self.hub.subscribe(Subscribe::to(wanted).from(Start::Last(1))).await?;
        let mut found = 0;
        // The position event is first; if nothing matches, it is the only one.
        while found < expected || found == 0 {
            match timeout(Duration::from_secs(60), subscription.next()).await? {
                Some(Delivery::Entry(_)) => found += 1,
                Some(_) if expected == 0 => break,
                Some(_) => {}
                None => return Err("the stream has ended early".into()),
            }
        }
        if found == expected {
            return Ok(start.elapsed().as_secs_f64());
        }
        Err(format!("{found} events instead of {expected}").into())
    }
}

fn matcher(pattern: &str) -> Outcome<TopicMatcher> {
    Ok(TopicMatcher::Pattern(TopicPattern::new(pattern)?))
}
