//! A snapshot of the newest event of each topic, beside reading the whole log, by the size of the
//! log.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use carafe_log::{Access, BlockLimit, DiskLog, DiskOptions, Entry, LatestQuery, Publication, Read};
use carafe_protocol::{Offset, Topic, TopicMatcher};
use futures_executor::block_on;
use tempfile::TempDir;

use crate::document;
use crate::figure::Limit;
use crate::filling::Filling;
use crate::noise::Noise;
use crate::outcome::Outcome;
use crate::results::Results;
use crate::section::{Curve, Section};
use crate::series::Series;
use crate::shape::amount;
use crate::usage;

const TOPICS: u64 = 100_000;

/// Entries of the logs: each topic has so many times a new value.
const ENTRIES: [u64; 3] = [100_000, 1_000_000, 5_000_000];

const DATA: usize = 100;

/// As the hub reads.
const BLOCK: BlockLimit = BlockLimit { entries: 256, bytes: 64 << 10 };

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How often each log is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Measure small sizes, once: to see that it runs
    #[arg(long)]
    quick: bool,
    /// Fail if an aim is missed
    #[arg(long)]
    check: bool,
    /// Write the part of bench/RESULTS.md, and bench/latest.svg
    #[arg(long)]
    write: bool,
    /// The folder for the logs, which are removed again: about 1.5 GB
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
}

/// A log of so many entries, and what was measured of it in seconds of processor time, round by
/// round. Searches run with the lowest priority, so that their duration says more about what else
/// the machine does.
struct Values {
    entries: u64,
    topics: u64,
    log: DiskLog,
    found: Vec<f64>,
    read: Vec<f64>,
    whole: Vec<f64>,
    _folder: TempDir,
}

pub(crate) fn measure(options: &Options) -> Outcome {
    let (noise, start) = (Noise::listen()?, Instant::now());
    let share = if options.quick { 50 } else { 1 };
    fs::create_dir_all(&options.dir)?;
    let fill = |entries| {
        let folder = tempfile::tempdir_in(&options.dir)?;
        Values::fill(folder, entries / share, TOPICS / share)
    };
    let mut all = ENTRIES.into_iter().map(fill).collect::<Outcome<Vec<_>>>()?;
    for _ in 0..if options.quick { 1 } else { options.rounds.max(1) } {
        all.iter_mut().try_for_each(Values::turn)?;
    }
    let mut section = section(&all);
    section.note(format!("{} It took {:.0} s.", noise.to_string()?, start.elapsed().as_secs_f64()));
    let mut results = Results::new(options.quick);
    results.add(section);
    results.finish(options.write.then_some(document::Part::Latest), options.check)
}

fn section(all: &[Values]) -> Section {
    let mut section = Section::new("The newest event of each topic, by the entries of the log");
    section.head(&["entries", "topics", "found, ms", "found and read, ms", "the whole log, ms"]);
    section.note("Milliseconds of processor time.");
    let ms = |seconds: &[f64]| Series::of(seconds.iter().map(|seconds| seconds * 1e3)).to_string();
    for log in all {
        let figures = [&log.found, &log.read, &log.whole].map(|seconds| ms(seconds));
        section.row([vec![amount(log.entries), amount(log.topics)], figures.to_vec()].concat());
    }
    let (Some(first), Some(last)) = (all.first(), all.last()) else { return section };
    type Column = (&'static str, fn(&Values) -> &Vec<f64>);
    let columns: [Column; 2] =
        [("a snapshot", |log| &log.read), ("reading the whole log", |log| &log.whole)];
    for (name, of) in columns {
        let point = |log: &Values| {
            let factor = log.entries as f64 / first.entries as f64;
            (factor, Series::ratio(of(log), of(first)).median())
        };
        section.curve(Curve { name: name.into(), points: all.iter().map(point).collect() });
    }
    let name = format!("a snapshot / reading the whole log, at {} entries", amount(last.entries));
    section.demand(name, Series::ratio(&last.read, &last.whole), Limit::AtMost(0.5));
    section
}

impl Values {
    fn fill(folder: TempDir, entries: u64, topics: u64) -> Outcome<Self> {
        let mut filling = Filling::open(folder.path(), DiskOptions::default())?;
        let data = "x".repeat(DATA);
        // A step that has no factor in common with the number of topics: each has its turn, and
        // neighbours are apart.
        let topic = |number: u64| Topic::new(&format!("state/{:06}", number * 7919 % topics)).ok();
        filling.append(
            (0..entries).filter_map(|number| Some(Publication::new(topic(number)?, &*data))),
        )?;
        drop(filling);
        let log = DiskLog::open(folder.path(), DiskOptions::default())?;
        let (found, read, whole) = <(Vec<_>, Vec<_>, Vec<_>)>::default();
        Ok(Self { entries, topics, log, found, read, whole, _folder: folder })
    }

    fn turn(&mut self) -> Outcome {
        let start = processor()?;
        let query = LatestQuery::of([TopicMatcher::any()]).with_access(Access::all());
        let offsets = block_on(self.log.latest(query))?.offsets;
        self.found.push(processor()? - start);
        let values = self.read(&offsets)?;
        self.read.push(processor()? - start);
        let start = processor()?;
        let expected = self.read_all()?;
        self.whole.push(processor()? - start);
        if values != expected || values != self.topics as usize {
            return Err(format!("{values} values instead of {expected}").into());
        }
        Ok(())
    }

    /// Reads the entries of a snapshot, and returns how many those are.
    fn read(&self, offsets: &[Offset]) -> Outcome<usize> {
        let (mut rest, mut values) = (offsets, 0);
        while !rest.is_empty() {
            let block = rest[..rest.len().min(BLOCK.entries)].to_vec();
            let picked = block_on(self.log.read_at(block, BLOCK))?;
            values += picked.entries.len();
            rest = &rest[picked.passed..];
        }
        Ok(values)
    }

    /// Reads the whole log, and returns how many topics have a value.
    fn read_all(&self) -> Outcome<usize> {
        let mut newest: HashMap<Topic, Arc<Entry>> = HashMap::new();
        let (mut after, tail) = (self.log.span().start.offset, self.log.span().tail.offset);
        while after < tail {
            let block = block_on(self.log.read(after, vec![TopicMatcher::any()], BLOCK))?;
            after = block.up_to.offset;
            newest.extend(block.entries.into_iter().map(|entry| (entry.topic().clone(), entry)));
        }
        Ok(newest.len())
    }
}

/// Seconds of processor time that this process has had.
fn processor() -> Outcome<f64> {
    Ok(usage::processor(std::process::id())? as f64 / 1e9)
}
