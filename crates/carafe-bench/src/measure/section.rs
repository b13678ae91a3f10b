//! What one part of a measurement found: a table, and what it was to be.

use std::fmt;

use crate::figure::Limit;
use crate::series::Series;

#[derive(Default)]
pub(crate) struct Section {
    title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    bars: Vec<Bar>,
    notes: Vec<String>,
    pub(crate) plotted: Vec<Plotted>,
    pub(crate) curves: Vec<Curve>,
}

/// Bars for the picture.
pub(crate) struct Plotted {
    pub(crate) title: String,
    pub(crate) bars: Vec<(String, f64)>,
}

/// Cost against size, both as a multiple of those at the smallest size.
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A figure that is demanded.
struct Bar {
    name: String,
    measured: Series,
    limit: Limit,
}

impl Section {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), ..Self::default() }
    }

    pub(crate) fn head(&mut self, head: &[&str]) {
        self.head = head.iter().map(|name| (*name).into()).collect();
    }

    pub(crate) fn row(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    pub(crate) fn demand(&mut self, name: impl Into<String>, measured: Series, limit: Limit) {
        self.bars.push(Bar { name: name.into(), measured, limit });
    }

    pub(crate) fn plot(&mut self, title: impl Into<String>, bars: Vec<(String, f64)>) {
        self.plotted.push(Plotted { title: title.into(), bars });
    }

    pub(crate) fn curve(&mut self, curve: Curve) {
        self.curves.push(curve);
    }

    /// The demands that were not met, each with what was measured.
    pub(crate) fn missed(&self) -> Vec<String> {
        let missed = self.bars.iter().filter(|bar| !bar.is_met());
        missed.map(|Bar { name, measured, limit }| format!("{name}: {measured}, {limit}")).collect()
    }
}

impl Bar {
    fn is_met(&self) -> bool {
        self.limit.is_met(self.measured.median())
    }
}

/// In Markdown, with columns that line up on a terminal too.
impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n", self.title)?;
        if !self.rows.is_empty() {
            table(f, &self.head, &self.rows)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{}\n", wrapped(note)))?;
        let verdicts = self.bars.iter().map(|bar| {
            let Bar { name, measured, limit } = bar;
            vec![
                name.clone(),
                measured.to_string(),
                limit.to_string(),
                verdict(bar.is_met()).into(),
            ]
        });
        let verdicts: Vec<_> = verdicts.collect();
        if verdicts.is_empty() {
            return Ok(());
        }
        table(f, &["demanded", "measured", "aim", ""].map(String::from), &verdicts)
    }
}

/// The width of prose in the repository's documents.
const WIDTH: usize = 100;

/// A paragraph in lines of that width. A word that is longer has a line of its own.
fn wrapped(paragraph: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in paragraph.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    lines.join("\n")
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "ok" } else { "MISSED" }
}

/// Markdown wants so many dashes below a head.
const LEAST: usize = 3;

fn table(f: &mut fmt::Formatter<'_>, head: &[String], rows: &[Vec<String>]) -> fmt::Result {
    let widths: Vec<_> = (0..head.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column)).chain([&head[column]]);
            cells.map(|cell| cell.chars().count()).chain([LEAST]).max().unwrap_or(LEAST)
        })
        .collect();
    let mut line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(f, "| {} |", cells.collect::<Vec<_>>().join(" | "))
    };
    line(head)?;
    line(&widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>())?;
    rows.iter().try_for_each(|row| line(row))?;
    writeln!(f)
}

#[cfg(test)]
mod tests {
    use super::{Section, WIDTH, wrapped};
    use crate::figure::Limit;
    use crate::series::Series;

    #[test]
    fn a_note_is_wrapped_and_loses_no_word() {
        let note = "seven letters ".repeat(40);
        let lines = wrapped(&note);
        assert!(lines.lines().all(|line| line.len() <= WIDTH) && lines.lines().count() > 5);
        assert!(lines.split_whitespace().eq(note.split_whitespace()));
        assert_eq!(wrapped("short"), "short");
    }

    #[test]
    fn a_demand_is_missed_by_the_median() {
        let mut section = Section::new("A section");
        section.demand("a ratio", Series::of([1.3, 0.9, 1.0]), Limit::AtMost(1.1));
        assert!(section.missed().is_empty());
        section.demand("another", Series::of([1.3, 1.2, 1.0]), Limit::AtMost(1.1));
        section.demand("nothing", Series::of([]), Limit::AtLeast(1.0));
        assert_eq!(
            section.missed(),
            ["another: 1.20 (1.00 to 1.30), at most 1.1", "nothing: NaN, at least 1"]
        );
        let shown = section.to_string();
        assert!(
            shown.contains("| a ratio  | 1.00 (0.90 to 1.30) | at most 1.1 | ok     |"),
            "{shown}"
        );
        assert!(
            shown.contains("| another  | 1.20 (1.00 to 1.30) | at most 1.1 | MISSED |"),
            "{shown}"
        );
    }
}
