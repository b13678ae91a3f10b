//! What it costs to publish with an idempotency key, by the size of the log.

use std::time::Instant;

use carafe_log::{Append, DiskLog, DiskOptions, IdempotencyKey, Publication};
use carafe_protocol::Topic;
use futures_executor::block_on;
use tempfile::TempDir;

use crate::Outcome;
use crate::figure::Limit;
use crate::filling::Filling;
use crate::section::{Curve, Section};
use crate::series::Series;
use crate::turns::seconds;

use super::{Bench, permille};

/// Bytes of log. Each entry has a key.
const SIZES: [(&str, u64); 3] = [("1 MB", 1_000_000), ("100 MB", 100_000_000), ("4 GB", 4_000_000_000)];

/// Bytes that an entry takes on disk with its data, about.
const ENTRY: u64 = 1_000;
const DATA: usize = 900;

/// Publications of one turn, one after the other. A sync costs now so much, now three times that.
const PUBLICATIONS: usize = 40;

/// Publications of a batch.
const BATCH: usize = 100;
const BATCHES: usize = 5;

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
    let sized = SIZES.map(|(name, bytes)| Sized::fill(bench, name, bench.size(bytes).max(ENTRY) / ENTRY));
    let mut all = sized.into_iter().collect::<Outcome<Vec<_>>>()?;
    let rounds = if bench.quick { 1 } else { bench.rounds * 2 };
    for _ in 0..rounds {
        all.iter_mut().try_for_each(|sized| sized.turn(bench))?;
    }
    Ok(section(&all))
}

fn section(all: &[Sized]) -> Section {
    let mut section = Section::new("Publishing with a key that is not known, by the size of the log");
    section.head(&["log", "keys", "plain, µs", "with a key, µs", "batch of 100 with keys, µs"]);
    for sized in all {
        let micros = |seconds: &[f64]| Series::of(seconds.iter().map(|seconds| seconds * 1e6)).to_string();
        section.row(vec![
            sized.name.into(),
            super::amount(sized.entries),
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
    section.demand(name, Series::ratio(&large.batch, &small.batch), Limit::AtMost(1.2));
    let points = |of: fn(&Sized) -> &Vec<f64>| {
        let factor = |sized: &Sized| sized.entries as f64 / small.entries as f64;
        all.iter().map(|sized| (factor(sized), Series::ratio(of(sized), of(small)).median())).collect()
    };
    section.curve(Curve { name: "publish with a key".into(), points: points(|sized| &sized.keyed) });
    section.curve(Curve { name: "batch of 100 with keys".into(), points: points(|sized| &sized.batch) });
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

    fn turn(&mut self, bench: &Bench) -> Outcome {
        let plain = self.quick_quarter(bench, PUBLICATIONS, |sized| {
            sized.append(vec![Publication::new(sized.topic.clone(), "x".repeat(DATA))])
        })?;
        let keyed = self.quick_quarter(bench, PUBLICATIONS, |sized| sized.append_keyed(1))?;
        let batch = self.quick_quarter(bench, BATCHES, |sized| sized.append_keyed(BATCH))?;
        self.plain.push(plain);
        self.keyed.push(keyed);
        self.batch.push(batch);
        Ok(())
    }

    /// What the quicker quarter of so many takes, or of as many as the time allows: what others do on the machine meanwhile
    /// makes single ones slow, and what the log does, all.
    fn quick_quarter(
        &mut self,
        bench: &Bench,
        count: usize,
        mut run: impl FnMut(&mut Self) -> Outcome,
    ) -> Outcome<f64> {
        let (end, mut all) = (Instant::now() + bench.turn() / 3, Vec::new());
        while all.len() < count && (all.is_empty() || Instant::now() < end) {
            all.push(seconds(|| run(self))?);
        }
        all.sort_unstable_by(f64::total_cmp);
        Ok(permille(&all, 250))
    }

    fn append_keyed(&mut self, count: usize) -> Outcome {
        let data = "x".repeat(DATA);
        let numbers = self.next..self.next + count as u64;
        self.next = numbers.end;
        let batch = numbers.map(|number| keyed(&self.topic, &data, number)).collect::<Outcome<Vec<_>>>()?;
        self.append(batch)
    }

    fn append(&self, batch: Vec<Publication>) -> Outcome {
        let count = batch.len();
        let appended = block_on(self.log.append(batch))?;
        let repeated = appended.iter().filter(|appended| appended.repeated).count();
        if appended.len() == count && repeated == 0 {
            return Ok(());
        }
        Err(format!("{repeated} of {count} publications with new keys were taken for repeated").into())
    }
}

fn keyed(topic: &Topic, data: &str, number: u64) -> Outcome<Publication> {
    let key = IdempotencyKey::new(&format!("order-{number:012}"))?;
    Ok(Publication::new(topic.clone(), data).with_key(key))
}
