//! Commands that measure parts one after the other: their options, and what they do.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::bench::Bench;
use crate::child::raise_descriptor_limit;
use crate::document;
use crate::noise::noted;
use crate::outcome::Outcome;
use crate::results::Results;
use crate::section::Section;

/// The list of commands has the words and the defaults in which they differ.
#[derive(clap::Args)]
pub(crate) struct Options<P: ValueEnum + Send + Sync + 'static> {
    /// What to measure [default: everything]
    parts: Vec<P>,
    /// Number of rounds in which the servers alternate
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Measure briefly, with a fifth of the connections, as a smoke test
    #[arg(long)]
    quick: bool,
    /// Fail if a target is missed
    #[arg(long)]
    check: bool,
    /// Write the results to bench/RESULTS.md
    #[arg(long)]
    write: bool,
    /// The program to measure
    #[arg(long)]
    carafe: Option<PathBuf>,
}

impl<P: ValueEnum + PartialEq + Copy + Send + Sync + 'static> Options<P> {
    pub(crate) fn bench(&self) -> Outcome<Bench> {
        raise_descriptor_limit()?;
        Bench::new(self.carafe.as_deref(), self.rounds, self.quick)
    }

    /// Measures the parts that were asked for, and keeps the results if that was.
    pub(crate) fn measure(
        &self,
        kept: document::Part,
        measure: impl Fn(P) -> Outcome<Section>,
    ) -> Outcome {
        let mut results = Results::new(self.quick);
        results.measure(&self.parts, |part| noted(|| measure(*part)))?;
        results.finish(self.write.then_some(kept), self.check)
    }
}
