//! What it costs to publish with an idempotency key, by the size of the log.

use std::time::Instant;

use carafe_log::{Append, DiskLog, DiskOptions, IdempotencyKey, Publication};
use carafe_protocol::Topic;
use futures_executor::block_on;
use tempfile::TempDir;

use crate::figure::Limit;
use crate::filling::Filling;
use crate::outcome::Outcome;
use crate::section::{Curve, Section};
use crate::series::Series;
use crate::turns::seconds;

use super::bench::{Bench, permille};

/// Bytes of log. Each entry has a key.
const SIZES: [(&str, u64); 3] =
    [("1 MB", 1_000_000), ("100 MB", 100_000_000), ("4 GB", 4_000_000_000)];

/// Bytes that an entry takes on disk with its data, about.
const ENTRY: u64 = 1_000;
const DATA: usize = 900;

/// Publications of a round for each size. A sync costs now so much, now three times that.
const PUBLICATIONS: usize = 100;

/// Publications of a batch.
const BATCH: usize = 100;

/// Publications for each batch.
const EVERY: usize = 5;

/// A log of a size, and what was measured of it, round by round, in seconds.
struct Sized {
    name: &'static str,
    entries: u64,
    log: DiskLog,
    topic: Topic,
    next: u64,
    plain: Vec<f64>,
    keyed: Vec<f64>,
    batch: Vec<f64>,
    _folder: TempDir,
}

pub(crate) fn measure(bench: &Bench) -> Outcome<Section> {
    let sized =
        SIZES.map(|(name, bytes)| Sized::fill(bench, name, bench.size(bytes).max(ENTRY) / ENTRY));
    let mut all = sized.into_iter().collect::<Outcome<Vec<_>>>()?;
    for _ in 0..bench.rounds {
        turn(bench, &mut all)?;
    }
    Ok(section(&all))
}

/// What single publications of a round took, in seconds.
#[derive(Default)]
struct Turn {
    plain: Vec<f64>,
    keyed: Vec<f64>,
    batch: Vec<f64>,
}

/// All sizes in turns, publication by publication, until there are enough or the time is over.
fn turn(bench: &Bench, all: &mut [Sized]) -> Outcome {
    let mut turns: Vec<_> = all.iter().map(|_| Turn::default()).collect();
    let end = Instant::now() + 2 * bench.turn();
    for number in 0..PUBLICATIONS {
        for (sized, turn) in all.iter_mut().zip(&mut turns) {
            sized.publish(turn, number)?;
        }
        if Instant::now() > end {
            break;
        }
    }
    all.iter_mut().zip(turns).for_each(|(sized, turn)| sized.take(turn));
    Ok(())
}

/// What the quickest tenth takes: what others do on the machine makes single ones slow, and what
/// the log does, all.
fn quickest_tenth(mut all: Vec<f64>) -> f64 {
    all.sort_unstable_by(f64::total_cmp);
    permille(&all, 100)
}

fn section(all: &[Sized]) -> Section {
    let mut section =
        Section::new("Publishing with a key that is not known, by the size of the log");
    section.head(&["log", "keys", "plain, µs", "with a key, µs", "batch of 100 with keys, µs"]);
    for sized in all {
        let micros =
            |seconds: &[f64]| Series::of(seconds.iter().map(|seconds| seconds * 1e6)).to_string();
        section.row(vec![
            sized.name.into(),
            super::bench::amount(sized.entries),
            micros(&sized.plain),
            micros(&sized.keyed),
            micros(&sized.batch),
        ]);
    }
    let small = &all[0];
    for sized in &all[1..] {
        let name = format!("publishing with a key at {} / at {}", sized.name, small.name);
        section.demand(name, Series::ratio(&sized.keyed, &small.keyed), Limit::AtMost(1.2));
    }
    let large = &all[all.len() - 1];
    let name = format!("a batch of {BATCH} with keys at {} / at {}", large.name, small.name);
    // One sync, and a hundred keys that are looked up in the filters of all segments.
    section.demand(name, Series::ratio(&large.batch, &small.batch), Limit::AtMost(1.5));
    let points = |of: fn(&Sized) -> &Vec<f64>| {
        let factor = |sized: &Sized| sized.entries as f64 / small.entries as f64;
        all.iter()
            .map(|sized| (factor(sized), Series::ratio(of(sized), of(small)).median()))
            .collect()
    };
    section
        .curve(Curve { name: "publish with a key".into(), points: points(|sized| &sized.keyed) });
    section.curve(Curve {
        name: "batch of 100 with keys".into(),
        points: points(|sized| &sized.batch),
    });
    section
}

impl Sized {
    fn fill(bench: &Bench, name: &'static str, entries: u64) -> Outcome<Self> {
        let folder = bench.folder()?;
        let topic = Topic::new("orders")?;
        let mut filling = Filling::open(folder.path(), DiskOptions::default())?;
        let data = "x".repeat(DATA);
        filling.append((0..entries).filter_map(|number| keyed(&topic, &data, number).ok()))?;
        drop(filling);
        // Opened anew, as it is after a restart: nothing is known but what opening reads.
        let log = DiskLog::open(folder.path(), DiskOptions::default())?;
        let (plain, keyed, batch) = <(Vec<_>, Vec<_>, Vec<_>)>::default();
        Ok(Self { name, entries, log, topic, next: entries, plain, keyed, batch, _folder: folder })
    }

    /// One publication without a key and one with, or a batch with keys.
    fn publish(&mut self, turn: &mut Turn, number: usize) -> Outcome {
        let (plain, data) = (self.topic.clone(), "x".repeat(DATA));
        turn.plain.push(seconds(|| self.append(vec![Publication::new(plain, data)]))?);
        turn.keyed.push(seconds(|| self.append_keyed(1))?);
        if number.is_multiple_of(EVERY) {
            turn.batch.push(seconds(|| self.append_keyed(BATCH))?);
        }
        Ok(())
    }

    fn take(&mut self, turn: Turn) {
        self.plain.push(quickest_tenth(turn.plain));
        self.keyed.push(quickest_tenth(turn.keyed));
        self.batch.push(quickest_tenth(turn.batch));
    }

    fn append_keyed(&mut self, count: usize) -> Outcome {
        let data = "x".repeat(DATA);
        let numbers = self.next..self.next + count as u64;
        self.next = numbers.end;
        let batch =
            numbers.map(|number| keyed(&self.topic, &data, number)).collect::<Outcome<Vec<_>>>()?;
        self.append(batch)
    }

    fn append(&self, batch: Vec<Publication>) -> Outcome {
        let count = batch.len();
        let appended = block_on(self.log.append(batch))?;
        let repeated = appended.iter().filter(|appended| appended.repeated).count();
        if appended.len() == count && repeated == 0 {
            return Ok(());
        }
        Err(format!("{repeated} of {count} publications with new keys were taken for repeated")
            .into())
    }
}

fn keyed(topic: &Topic, data: &str, number: u64) -> Outcome<Publication> {
    let key = IdempotencyKey::new(&format!("order-{number:012}"))?;
    Ok(Publication::new(topic.clone(), data).with_key(key))
}
