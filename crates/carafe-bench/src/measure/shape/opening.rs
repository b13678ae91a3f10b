//! How long it takes to open a log, by its size.

use std::fs;
use std::io::{Write, stdin};
use std::path::Path;
use std::time::{Duration, Instant};

use carafe_log::{DiskLog, DiskOptions, IdempotencyKey, Publication, Read};
use carafe_protocol::Topic;
use tempfile::TempDir;

use crate::child::Program;
use crate::figure::Limit;
use crate::filling::Filling;
use crate::outcome::Outcome;
use crate::section::{Curve, Section};
use crate::segment;
use crate::series::Series;
use crate::server::this_program;
use crate::workload::topics;

use super::bench::{Bench, amount};

const FEW: u64 = 1_000_000;
const MANY: u64 = 10_000_000;

const TOPICS: usize = 10_000;
const DATA: usize = 20;

const SEGMENT: u64 = 16 << 20;

/// Entries of the newest segment, the same in each log: opening reads them.
const NEWEST: u64 = 100_000;

const PATIENCE: Duration = Duration::from_secs(300);

/// A log of so many entries, and how long it took to open, round by round, in seconds.
struct Entries {
    entries: u64,
    folder: TempDir,
    orderly: Vec<f64>,
    killed: Vec<f64>,
}

pub(crate) fn measure(bench: &Bench) -> Outcome<Section> {
    let all = [FEW, MANY].map(|entries| Entries::fill(bench, bench.size(entries))).into_iter();
    let mut all = all.collect::<Outcome<Vec<_>>>()?;
    for _ in 0..bench.rounds {
        all.iter_mut().try_for_each(Entries::turn)?;
    }
    Ok(section(&all))
}

fn section(all: &[Entries]) -> Section {
    let mut section = Section::new("Opening a log, by its entries, each with a key");
    section.head(&["entries", "after an orderly stop, ms", "after SIGKILL, ms"]);
    let ms = |seconds: &[f64]| Series::of(seconds.iter().map(|seconds| seconds * 1e3)).to_string();
    for log in all {
        section.row(vec![amount(log.entries), ms(&log.orderly), ms(&log.killed)]);
    }
    let [few, many] = all else { return section };
    let factor = many.entries as f64 / few.entries as f64;
    for (after, of) in [
        ("an orderly stop", (&many.orderly, &few.orderly)),
        ("SIGKILL", (&many.killed, &few.killed)),
    ] {
        let ratio = Series::ratio(of.0, of.1);
        let points = vec![(1.0, 1.0), (factor, ratio.median())];
        section.curve(Curve { name: format!("opening after {after}"), points });
        let name = format!(
            "opening after {after}, {} entries / {}",
            amount(many.entries),
            amount(few.entries)
        );
        section.demand(name, ratio, Limit::AtMost(3.0));
    }
    section
}

impl Entries {
    fn fill(bench: &Bench, entries: u64) -> Outcome<Self> {
        let folder = bench.folder()?;
        let segment_bytes = Some(u32::try_from(bench.size(SEGMENT))?);
        let options = DiskOptions::default().with_segment_bytes(segment_bytes);
        let mut filling = Filling::open(folder.path(), options)?;
        let (topics, newest) = (topics(TOPICS)?, bench.size(NEWEST));
        let publications = |count: u64, first: u64| {
            let topics = topics.iter().cycle().zip(first..first + count);
            topics.filter_map(|(topic, number)| keyed(topic, number).ok())
        };
        filling.append(publications(entries.saturating_sub(newest), 0))?;
        let (mut first, full) = (entries, segment::paths(folder.path())?.len());
        while segment::paths(folder.path())?.len() == full {
            filling.append(publications(newest / 10, first))?;
            first += newest / 10;
        }
        filling.append(publications(newest, first))?;
        let entries = filling.log.span().tail.offset;
        drop(filling);
        Ok(Self { entries, folder, orderly: Vec::new(), killed: Vec::new() })
    }

    /// It was closed in order the time before.
    fn turn(&mut self) -> Outcome {
        let opened = Opened::start(self.folder.path())?;
        self.orderly.push(opened.seconds);
        opened.program.kill()?;
        let opened = Opened::start(self.folder.path())?;
        self.killed.push(opened.seconds);
        opened.program.finish()
    }
}

fn keyed(topic: &Topic, number: u64) -> Outcome<Publication> {
    let key = IdempotencyKey::new(&format!("order-{number:012}"))?;
    Ok(Publication::new(topic.clone(), "x".repeat(DATA)).with_key(key))
}

/// A process that has a log open.
struct Opened {
    program: Program,
    seconds: f64,
}

impl Opened {
    fn start(folder: &Path) -> Outcome<Self> {
        let mut command = this_program()?;
        command.arg("opened").arg(folder);
        let program = Program::start(&command, None)?;
        let seconds = program.next_line(PATIENCE)?.parse()?;
        Ok(Self { program, seconds })
    }
}

/// Opens a log, prints how many seconds that took, and closes it when standard input ends.
pub(crate) fn serve_opened(folder: &Path) -> Outcome {
    // Fills the page cache, so that all rounds read from it.
    fs::read_dir(folder)?.try_for_each(|file| fs::read(file?.path()).map(drop))?;
    let start = Instant::now();
    let log = DiskLog::open(folder, DiskOptions::default())?;
    println!("{}", start.elapsed().as_secs_f64());
    std::io::stdout().flush()?;
    stdin().read_line(&mut String::new())?;
    drop(log);
    Ok(())
}
