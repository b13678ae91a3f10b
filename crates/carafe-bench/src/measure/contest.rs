//! Servers that are measured in turns, round after round.

use std::fmt::Display;

use crate::bench::Bench;
use crate::figure::Limit;
use crate::outcome::Outcome;
use crate::section::Section;
use crate::series::Series;

/// Something that is measured, with its name.
pub(crate) trait Contestant: Copy + Display + PartialEq {
    /// Whether the measurement can do without it.
    fn is_optional(&self) -> bool {
        false
    }
}

/// `N` figures of each contestant in each round.
pub(crate) struct Contest<C, const N: usize> {
    rows: Vec<Row<C, N>>,
}

struct Row<C, const N: usize> {
    contestant: C,
    columns: [Vec<f64>; N],
    /// Why it was not measured.
    skipped: Option<String>,
}

impl<C: Contestant, const N: usize> Contest<C, N> {
    /// A contestant that is optional and fails is left out from then on, and the reason is printed.
    pub(crate) fn run(
        bench: &Bench,
        contestants: &[C],
        measure: impl Fn(C) -> Outcome<[f64; N]>,
    ) -> Outcome<Self> {
        let mut rows: Vec<_> = contestants.iter().copied().map(Row::new).collect();
        for _ in 0..bench.rounds {
            for row in rows.iter_mut().filter(|row| row.skipped.is_none()) {
                let name = row.contestant;
                row.add(
                    measure(row.contestant).map_err(|error| format!("{name}: {error}").into()),
                )?;
            }
        }
        Ok(Self { rows })
    }

    /// Adds the table: the median of each figure, with the least and the most.
    pub(crate) fn tabulate(&self, section: &mut Section, head: [&str; N]) {
        section.head(&[&[""][..], &head].concat());
        for row in &self.rows {
            section.row(row.cells());
            if let Some(reason) = &row.skipped {
                section.note(format!("Not measured: {reason}."));
            }
        }
    }

    /// Adds a demand on one contestant by the other, unless that one was not measured.
    pub(crate) fn demand(
        &self,
        section: &mut Section,
        (figure, column): (&str, usize),
        (one, other): (C, C),
        limit: Limit,
    ) {
        let is_skipped = |row: &Row<C, N>| row.contestant == other && row.skipped.is_some();
        if !self.rows.iter().any(is_skipped) {
            let name = format!("{figure}, {one} / {other}");
            section.demand(name, self.ratio(one, other, column), limit);
        }
    }

    /// One contestant by the other, round by round.
    pub(crate) fn ratio(&self, one: C, other: C, column: usize) -> Series {
        Series::ratio(self.column(one, column), self.column(other, column))
    }

    pub(crate) fn series(&self, contestant: C, column: usize) -> Series {
        Series::of(self.column(contestant, column).iter().copied())
    }

    /// The medians of a column, for the picture.
    pub(crate) fn bars(&self, column: usize) -> Vec<(String, f64)> {
        let measured = self.rows.iter().filter(|row| row.skipped.is_none());
        let bar = |row: &Row<C, N>| (row.contestant.to_string(), row.series(column).median());
        measured.map(bar).collect()
    }

    fn column(&self, contestant: C, column: usize) -> &[f64] {
        let row = self.rows.iter().find(|row| row.contestant == contestant);
        row.map_or(&[], |row| &row.columns[column])
    }
}

impl<C: Contestant, const N: usize> Row<C, N> {
    fn new(contestant: C) -> Self {
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
        let name = self.contestant.to_string();
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
