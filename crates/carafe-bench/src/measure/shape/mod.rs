//! Cost against size: each operation beside the same operation at a small size, in one run.

mod keys;
mod memory;
mod opening;
mod patterns;
mod readers;
mod sealing;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use tempfile::TempDir;

use crate::Outcome;
use crate::child::raise_descriptor_limit;
use crate::document;
use crate::noise::Noise;
use crate::results::Results;
use crate::section::Section;
use crate::subject::carafe;

pub(crate) use opening::serve_opened;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// What to measure [default: all of it]
    parts: Vec<Part>,
    /// How often each size is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Measure small sizes, once: to see that it runs
    #[arg(long)]
    quick: bool,
    /// Fail if an aim is missed
    #[arg(long)]
    check: bool,
    /// Write the part of bench/RESULTS.md, and bench/shape.svg
    #[arg(long)]
    write: bool,
    /// The folder for the logs, which are removed again: about 6 GB at a time
    #[arg(long, default_value = "target/bench")]
    dir: PathBuf,
    /// The program to measure
    #[arg(long)]
    carafe: Option<PathBuf>,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Publish latency while 20 clients read the log
    Readers,
    /// Publishing with an idempotency key on logs of 1 MB to 4 GB
    Keys,
    /// Replay and `last=1` by pattern, on logs of 1,000 and 1,000,000 topics
    Patterns,
    /// Opening logs of 1 M and 10 M entries
    Opening,
    /// Publish latency while a segment of 3 M topics is sealed
    Sealing,
    /// Memory per topic, key and pattern
    Memory,
}

/// How a part is to be measured.
pub(crate) struct Bench {
    pub(crate) carafe: PathBuf,
    pub(crate) rounds: usize,
    quick: bool,
    dir: PathBuf,
}

pub(crate) fn measure(options: &Options) -> Outcome {
    raise_descriptor_limit()?;
    let bench = Bench {
        carafe: carafe(options.carafe.as_deref())?,
        rounds: if options.quick { 1 } else { options.rounds.max(1) },
        quick: options.quick,
        dir: options.dir.clone(),
    };
    let mut results = Results::new(bench.quick);
    for part in Part::value_variants() {
        if options.parts.is_empty() || options.parts.contains(part) {
            let section = bench.measure(*part)?;
            println!("{section}");
            results.add(section);
        }
    }
    results.finish(options.write.then_some(document::Part::Shape), options.check)
}

impl Bench {
    fn measure(&self, part: Part) -> Outcome<Section> {
        let (noise, start) = (Noise::listen()?, Instant::now());
        let mut section = match part {
            Part::Readers => readers::measure(self),
            Part::Keys => keys::measure(self),
            Part::Patterns => patterns::measure(self),
            Part::Opening => opening::measure(self),
            Part::Sealing => sealing::measure(self),
            Part::Memory => memory::measure(self),
        }?;
        section.note(format!(
            "{} It took {:.0} s.",
            noise.to_string()?,
            start.elapsed().as_secs_f64()
        ));
        Ok(section)
    }

    /// An empty folder, removed when dropped.
    pub(crate) fn folder(&self) -> Outcome<TempDir> {
        fs::create_dir_all(&self.dir)?;
        Ok(tempfile::tempdir_in(&self.dir)?)
    }

    /// So much of something, or a fiftieth where it is to be quick.
    pub(crate) fn size(&self, size: u64) -> u64 {
        if self.quick { size.div_ceil(50) } else { size }
    }

    /// How long one turn of a measurement may take, whatever it is that turns out slow.
    pub(crate) fn turn(&self) -> Duration {
        if self.quick { Duration::from_secs(1) } else { Duration::from_secs(5) }
    }
}

/// The size in words: `1 k`, `100 M`.
pub(crate) fn amount(count: u64) -> String {
    match count {
        1_000_000.. => format!("{:.3} M", count as f64 / 1e6).replace(".000", ""),
        1_000.. => format!("{:.3} k", count as f64 / 1e3).replace(".000", ""),
        _ => count.to_string(),
    }
}

/// The value of which so many of a thousand are not greater; of values in rising order.
pub(crate) fn permille(rising: &[f64], permille: usize) -> f64 {
    let rank = (rising.len() * permille).div_ceil(1000);
    rising.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::{amount, permille};

    #[test]
    fn a_permille_of_few_values_is_the_greatest() {
        assert!((permille(&[1.0, 2.0, 9.0], 999) - 9.0).abs() < f64::EPSILON);
        assert!((permille(&[1.0, 2.0, 9.0], 500) - 2.0).abs() < f64::EPSILON);
        assert!(permille(&[], 999).is_nan());
    }

    #[test]
    fn amounts_are_told_in_thousands_and_millions() {
        assert_eq!([999, 1_000, 1_500_000].map(amount), ["999", "1 k", "1.500 M"]);
    }
}
