//! One segment as a reader sees it, whether its index is in memory or in a file.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use carafe_protocol::{Offset, Position};

use super::active::ActiveIndex;
use super::finder::{Cursor, Finder, Step, Tests};
use super::index::Ordinal;
use super::index_file::IndexFile;
use super::sealed::Segment;
use super::segment::Row;
use super::selection::Selections;
use crate::wanted::{Budget, SetId, Wanted};
use crate::{Entry, ReadError};

/// A segment as one reader sees it: what is appended later is not part of it.
pub(crate) struct Part {
    pub(crate) segment: Segment,
    /// The position of its last entry.
    pub(crate) last: Position,
    pub(crate) index: PartIndex,
}

pub(crate) enum PartIndex {
    /// Of so many entries.
    Memory(Arc<ActiveIndex>, Ordinal),
    File(IndexFile),
}

/// A set of matchers, with the number it is known by.
pub(crate) struct Asked {
    pub(crate) wanted: Wanted,
    pub(crate) set: SetId,
}

impl Asked {
    pub(crate) fn new(wanted: Wanted, selections: &Selections) -> Self {
        Self { set: selections.keys.of(&wanted), wanted }
    }
}

/// Entries that were selected, and how far the segment was looked at for them.
pub(crate) struct Picked {
    pub(crate) ordinals: Vec<Ordinal>,
    /// All that is wanted of those before it is selected.
    pub(crate) up_to: Ordinal,
}

/// How many entries were found from the end of a range, and how far it was looked at for them.
pub(crate) struct Counted {
    pub(crate) found: usize,
    pub(crate) down_to: Ordinal,
}

/// Rows that are read at once to see which entries are private.
const ROWS: Ordinal = 340;

impl Part {
    pub(crate) fn entries(&self) -> Ordinal {
        match &self.index {
            PartIndex::Memory(_, entries) => *entries,
            PartIndex::File(file) => file.entries(),
        }
    }

    /// The first entry after an offset.
    pub(crate) fn first_after(&self, offset: Offset) -> Result<Ordinal, ReadError> {
        match &self.index {
            PartIndex::Memory(index, entries) => Ok(index.first_after(offset, *entries)),
            PartIndex::File(file) => file.first_after(offset).map_err(unreadable),
        }
    }

    pub(crate) fn rows(&self, ordinals: &[Ordinal]) -> Result<Vec<Row>, ReadError> {
        match &self.index {
            PartIndex::Memory(index, _) => {
                Ok(ordinals.iter().map(|ordinal| index.row(*ordinal)).collect())
            }
            PartIndex::File(file) => file.rows(ordinals).map_err(unreadable),
        }
    }

    fn row_run(&self, range: Range<Ordinal>) -> Result<Vec<Row>, ReadError> {
        match &self.index {
            PartIndex::Memory(index, _) => Ok(range.map(|ordinal| index.row(ordinal)).collect()),
            PartIndex::File(file) => file.run(range).map_err(unreadable),
        }
    }

    /// The entries of a range.
    pub(crate) fn run(&self, range: Range<Ordinal>) -> Result<Vec<Entry>, ReadError> {
        let (rows, mut entries) = (self.row_run(range)?, Vec::new());
        self.segment.entries(&rows, |entry| {
            entries.push(entry);
            true
        })?;
        Ok(entries)
    }

    /// The entries of a range that are next to one of it, and the first one's number: as many as
    /// have so many bytes.
    pub(crate) fn run_near(
        &self,
        at: Ordinal,
        range: Range<Ordinal>,
        bytes: usize,
    ) -> Result<(Ordinal, Vec<Entry>), ReadError> {
        let rows = self.row_run(range.clone())?;
        let (before, after) = rows.split_at((at - range.start) as usize);
        let mut room = bytes;
        let mut fits = |row: &&Row| match room.checked_sub(row.length as usize) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        };
        let later = after.iter().take_while(&mut fits).count().max(1);
        let earlier = before.iter().rev().take_while(&mut fits).count() as Ordinal;
        Ok((at - earlier, self.run(at - earlier..at + later as Ordinal)?))
    }

    /// The first of the newest entries whose records have so many bytes at most, which are taken
    /// off.
    pub(crate) fn first_within(&self, room: &mut usize) -> Result<Ordinal, ReadError> {
        let mut first = self.entries();
        while first > 0 {
            let rows = self.row_run(first.saturating_sub(ROWS)..first)?;
            for row in rows.iter().rev() {
                let Some(left) = room.checked_sub(row.length as usize) else { return Ok(first) };
                *room = left;
                first -= 1;
            }
        }
        Ok(first)
    }

    /// The position before an entry.
    pub(crate) fn before(&self, ordinal: Ordinal) -> Result<Position, ReadError> {
        match ordinal.checked_sub(1) {
            None => Ok(self.segment.header.previous),
            Some(_) if ordinal == self.entries() => Ok(self.last),
            Some(last) => Ok(self.segment.entry(self.row_run(last..ordinal)?[0])?.position),
        }
    }

    /// What finds the wanted entries. `None` if the budget was spent before all was known that this
    /// takes.
    pub(crate) fn finder<'a>(
        &'a self,
        asked: &'a Asked,
        selections: &Selections,
        budget: &mut Budget,
    ) -> Result<Option<Finder<'a>>, ReadError> {
        let (wanted, number) = (&asked.wanted, self.segment.header.previous.offset);
        if wanted.any() {
            return Ok(Some(Finder::All));
        }
        if wanted.none() {
            return Ok(Some(Finder::Lists(Vec::new())));
        }
        match &self.index {
            PartIndex::Memory(index, end) => Ok(Some(match wanted.topics() {
                Some(topics) => Finder::Lists(
                    topics.map(|topic| Cursor::new(index.of_topic(topic, *end))).collect(),
                ),
                None => {
                    let memo = selections.memo(number, asked.set, index.topics.lists());
                    Finder::Tested(index, wanted, memo)
                }
            })),
            PartIndex::File(file) => {
                let Some(resolution) = selections.resolution(number, asked.set, file.entries())
                else {
                    return Ok(Some(Finder::Read(Tests::new(self, wanted))));
                };
                let Some(selection) =
                    resolution.advance(file, wanted, budget).map_err(unreadable)?
                else {
                    return Ok(None);
                };
                selections.settle(number, asked.set, &selection);
                Ok(Some(Finder::Selected(selection)))
            }
        }
    }

    /// Up to `count` wanted entries from `first` on; fewer if the budget is spent.
    pub(crate) fn pick(
        &self,
        first: Ordinal,
        finder: &mut Finder<'_>,
        count: usize,
        budget: &mut Budget,
    ) -> Result<Picked, ReadError> {
        let mut picked = Picked { ordinals: Vec::new(), up_to: first };
        while picked.ordinals.len() < count {
            let Step { at, found } = finder.next(picked.up_to..self.entries(), budget)?;
            if !found {
                picked.up_to = at;
                break;
            }
            picked.ordinals.push(at);
            picked.up_to = at + 1;
        }
        Ok(picked)
    }

    /// Counts wanted entries that are shown before `end`, the newest first, up to `count`; fewer if
    /// the budget is spent. Of entries that are not public if `public`, those are shown that
    /// `granted` finds, or all without it.
    pub(crate) fn count_back(
        &self,
        end: Ordinal,
        finder: &mut Finder<'_>,
        shown: &mut Shown<'_>,
        count: usize,
        budget: &mut Budget,
    ) -> Result<Counted, ReadError> {
        let mut counted = Counted { found: 0, down_to: end };
        while counted.found < count && counted.down_to > 0 && !budget.is_spent() {
            budget.examine();
            let Step { at, found } = finder.next_back(0..counted.down_to, budget)?;
            counted.down_to = at;
            if found && shown.shows(self, at, budget)? {
                counted.found += 1;
            }
        }
        Ok(counted)
    }
}

/// Which entries of a segment a reader may see.
pub(crate) struct Shown<'a> {
    public: bool,
    granted: Finder<'a>,
    /// Rows that were read, and the first one's number.
    rows: Vec<Row>,
    from: Ordinal,
}

impl<'a> Shown<'a> {
    pub(crate) fn new(public: bool, granted: Finder<'a>) -> Self {
        Self { public, granted, rows: Vec::new(), from: 0 }
    }

    fn shows(&mut self, part: &Part, at: Ordinal, budget: &mut Budget) -> Result<bool, ReadError> {
        if matches!(self.granted, Finder::All) || (self.public && !self.is_private(part, at)?) {
            return Ok(true);
        }
        self.granted.contains(at, at..at + 1, budget)
    }

    fn is_private(&mut self, part: &Part, at: Ordinal) -> Result<bool, ReadError> {
        if !(self.from..self.from + self.rows.len() as Ordinal).contains(&at) {
            self.from = at.saturating_sub(ROWS - 1);
            self.rows = part.row_run(self.from..at + 1)?;
        }
        Ok(self.rows[(at - self.from) as usize].private)
    }
}

pub(crate) fn unreadable(error: io::Error) -> ReadError {
    ReadError::Disk(error.into())
}
