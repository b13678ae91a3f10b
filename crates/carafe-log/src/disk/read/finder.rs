//! Finds the matching entries of one segment one by one, in both directions.

use std::ops::Range;
use std::sync::Arc;

use crate::disk::format::index::Ordinal;
use crate::disk::index::active::ActiveIndex;
use crate::disk::index::postings::List;
use crate::disk::read::part::SegmentReader;
use crate::disk::read::selection::{Memo, Selection};
use crate::wanted::{Budget, Wanted};
use crate::{Entry, ReadError};

/// The number of entries of a sealed segment that are read at once to test them.
const TESTED: Ordinal = 64;

/// The maximum number of bytes of these entries, unless a single one has more.
const READ: usize = 1 << 20;

/// The matching entries of a segment.
pub(crate) enum Finder<'a> {
    All,
    /// The entries of a few topics, from the index in memory.
    Lists(Vec<Cursor<'a>>),
    /// Each entry is tested by its topics, from the index in memory.
    Tested(&'a ActiveIndex, &'a Wanted, Option<Arc<Memo>>),
    /// The entries of a sealed segment from a finished selection.
    Selected(Arc<Selection>),
    /// Each entry is read and tested, because there is no memory for a selection.
    Read(Tests<'a>),
}

/// The result of one search step.
pub(crate) struct Step {
    /// The entry that was found. If none was found: how far the search has come without a match.
    pub(crate) at: Ordinal,
    pub(crate) found: bool,
}

impl Step {
    fn of(found: Option<Ordinal>, within: &Range<Ordinal>, otherwise: Ordinal) -> Self {
        let found = found.filter(|at| within.contains(at));
        Self { at: found.unwrap_or(otherwise), found: found.is_some() }
    }
}

impl Finder<'_> {
    /// The first matching entry of a range, as far as the budget allows.
    pub(crate) fn next(
        &mut self,
        range: Range<Ordinal>,
        budget: &mut Budget,
    ) -> Result<Step, ReadError> {
        let first = range.start;
        let found = match self {
            Self::All => Some(first),
            // A merge: each list keeps its place, so that successive searches are constant in time.
            Self::Lists(lists) => lists.iter_mut().filter_map(|list| list.from(first)).min(),
            Self::Selected(selection) => selection.next_from(first),
            Self::Tested(..) | Self::Read(_) => {
                let mut at = first;
                // At least one entry per turn if the budget is fresh, so that each turn makes
                // progress.
                while at < range.end && !budget.is_spent() {
                    if self.contains(at, at..range.end.min(at + TESTED), budget)? {
                        return Ok(Step { at, found: true });
                    }
                    at += 1;
                }
                return Ok(Step { at, found: false });
            }
        };
        Ok(Step::of(found, &range, range.end))
    }

    /// The last matching entry of a range, as far as the budget allows.
    pub(crate) fn next_back(
        &mut self,
        range: Range<Ordinal>,
        budget: &mut Budget,
    ) -> Result<Step, ReadError> {
        let end = range.end;
        let found = match self {
            Self::All => end.checked_sub(1),
            Self::Lists(lists) => lists.iter_mut().filter_map(|list| list.before(end)).max(),
            Self::Selected(selection) => selection.last_before(end),
            Self::Tested(..) | Self::Read(_) => {
                let mut at = end;
                while at > range.start && !budget.is_spent() {
                    at -= 1;
                    if self.contains(at, at.saturating_sub(TESTED - 1)..at + 1, budget)? {
                        return Ok(Step { at, found: true });
                    }
                }
                return Ok(Step { at, found: false });
            }
        };
        Ok(Step::of(found, &range, range.start))
    }

    /// Whether an entry matches. If it has to be read, the entries in `near` are read with it.
    pub(crate) fn contains(
        &mut self,
        at: Ordinal,
        near: Range<Ordinal>,
        budget: &mut Budget,
    ) -> Result<bool, ReadError> {
        Ok(match self {
            Self::All => true,
            Self::Lists(lists) => lists.iter_mut().any(|list| list.from(at) == Some(at)),
            Self::Selected(selection) => selection.contains(at),
            Self::Tested(index, wanted, memo) => {
                budget.examine();
                index.any_topic(at, |topic| {
                    let mut test =
                        || index.name(topic).is_some_and(|name| wanted.matches(name, budget));
                    match memo {
                        Some(memo) => memo.get(topic, test),
                        None => test(),
                    }
                })
            }
            Self::Read(tests) => tests.matches(at, near, budget)?,
        })
    }
}

/// A list of entries with a place in it, since the next search usually continues there.
pub(crate) struct Cursor<'a> {
    list: List<'a>,
    at: u32,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(list: List<'a>) -> Self {
        Self { list, at: 0 }
    }

    /// The number of entries of the list before a bound.
    fn seek(&mut self, bound: Ordinal) -> u32 {
        let divides = |at: u32| {
            (at == 0 || self.list.get(at - 1) < bound)
                && (at >= self.list.len() || self.list.get(at) >= bound)
        };
        // Searches move by one entry in either direction, so the place is nearly always a neighbour
        // of the last one.
        let near = [self.at, self.at + 1, self.at.saturating_sub(1)];
        let near = near.into_iter().find(|at| *at <= self.list.len() && divides(*at));
        self.at = near.unwrap_or_else(|| self.list.partition_point(bound));
        self.at
    }

    fn from(&mut self, first: Ordinal) -> Option<Ordinal> {
        let at = self.seek(first);
        (at < self.list.len()).then(|| self.list.get(at))
    }

    fn before(&mut self, end: Ordinal) -> Option<Ordinal> {
        self.seek(end).checked_sub(1).map(|at| self.list.get(at))
    }
}

/// Entries that are read from their segment to be tested.
pub(crate) struct Tests<'a> {
    part: &'a SegmentReader,
    wanted: &'a Wanted,
    read: Vec<Entry>,
    from: Ordinal,
}

impl<'a> Tests<'a> {
    pub(crate) fn new(part: &'a SegmentReader, wanted: &'a Wanted) -> Self {
        Self { part, wanted, read: Vec::new(), from: 0 }
    }

    fn matches(
        &mut self,
        at: Ordinal,
        near: Range<Ordinal>,
        budget: &mut Budget,
    ) -> Result<bool, ReadError> {
        let read = self.from..self.from + self.read.len() as Ordinal;
        if !read.contains(&at) {
            (self.from, self.read) = self.part.run_near(at, near, READ)?;
        }
        // Present: `run_near` reads the entry at `at`, whatever its size.
        let entry = self.read.get((at - self.from) as usize);
        budget.read(entry.map_or(0, Entry::weight));
        Ok(entry.is_some_and(|entry| self.wanted.matches_any_of(&entry.publication, budget)))
    }
}
