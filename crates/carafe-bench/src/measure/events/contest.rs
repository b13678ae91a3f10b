//! Servers that are measured in turns, round after round.

use crate::bench::Bench;
use crate::figure::Limit;
use crate::outcome::Outcome;
use crate::section::Section;
use crate::series::Series;

use super::contestant::Contestant;

/// `N` figures of each contestant in each round.
pub(super) struct Contest<const N: usize> {
    rows: Vec<Row<N>>,
}

struct Row<const N: usize> {
    contestant: Contestant,
    columns: [Vec<f64>; N],
    /// Why it was not measured.
    skipped: Option<String>,
}

impl<const N: usize> Contest<N> {
    /// A contestant that is optional and fails is left out from then on, and the reason is printed.
    pub(super) fn run(
        bench: &Bench,
        contestants: &[Contestant],
        measure: impl Fn(Contestant) -> Outcome<[f64; N]>,
    ) -> Outcome<Self> {
        let mut rows: Vec<_> = contestants.iter().copied().map(Row::new).collect();
        for _ in 0..bench.rounds {
            for row in rows.iter_mut().filter(|row| row.skipped.is_none()) {
                let name = row.contestant.name();
                row.add(
                    measure(row.contestant).map_err(|error| format!("{name}: {error}").into()),
                )?;
            }
        }
        Ok(Self { rows })
    }

    /// Adds the table: the median of each figure, with the least and the most.
    pub(super) fn tabulate(&self, section: &mut Section, head: [&str; N]) {
        section.head(&[&[""][..], &head].concat());
        for row in &self.rows {
            section.row(row.cells());
            if let Some(reason) = &row.skipped {
                section.note(format!("Not measured: {reason}."));
            }
        }
    }

    /// Adds a demand on one contestant by the other, unless that one was not measured.
    pub(super) fn demand(
        &self,
        section: &mut Section,
        (figure, column): (&str, usize),
        (one, other): (Contestant, Contestant),
        limit: Limit,
    ) {
        let is_skipped = |row: &Row<N>| row.contestant == other && row.skipped.is_some();
        if !self.rows.iter().any(is_skipped) {
            let name = format!("{figure}, {} / {}", one.name(), other.name());
            section.demand(name, self.ratio(one, other, column), limit);
        }
    }

    /// One contestant by the other, round by round.
    pub(super) fn ratio(&self, one: Contestant, other: Contestant, column: usize) -> Series {
        Series::ratio(self.column(one, column), self.column(other, column))
    }

    pub(super) fn series(&self, contestant: Contestant, column: usize) -> Series {
        Series::of(self.column(contestant, column).iter().copied())
    }

    /// The medians of a column, for the picture.
    pub(super) fn bars(&self, column: usize) -> Vec<(String, f64)> {
        let measured = self.rows.iter().filter(|row| row.skipped.is_none());
        let bar = |row: &Row<N>| (row.contestant.name(), row.series(column).median());
        measured.map(bar).collect()
    }

    fn column(&self, contestant: Contestant, column: usize) -> &[f64] {
        let row = self.rows.iter().find(|row| row.contestant == contestant);
        row.map_or(&[], |row| &row.columns[column])
    }
}

impl<const N: usize> Row<N> {
    fn new(contestant: Contestant) -> Self {
        Self { contestant, columns: std::array::from_fn(|_| Vec::new()), skipped: None }
    }

    fn add(&mut self, measured: Outcome<[f64; N]>) -> Outcome {
        match measured {
            Ok(figures) => {
                self.columns.iter_mut().zip(figures).for_each(|(column, it)| column.push(it));
            }
            Err(reason) if self.contestant.is_optional() => {
                println!("skipped: {reason}");
                self.skipped = Some(reason.to_string());
            }
            Err(reason) => return Err(reason),
        }
        Ok(())
    }

    fn cells(&self) -> Vec<String> {
        let name = self.contestant.name();
        match &self.skipped {
            Some(_) => vec![name, "not measured".into()],
            None => {
                let figures = (0..N).map(|column| self.series(column).to_string());
                std::iter::once(name).chain(figures).collect()
            }
        }
    }

    fn series(&self, column: usize) -> Series {
        Series::of(self.columns[column].iter().copied())
    }
}
