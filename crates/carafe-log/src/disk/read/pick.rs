//! Picks the matching entries of one segment.

use std::ops::Range;

use carafe_protocol::Offset;

use crate::ReadError;
use crate::disk::format::commit::Row;
use crate::disk::format::index::Ordinal;
use crate::disk::index::file::{SegmentIndex, unreadable};
use crate::disk::read::finder::{Cursor, Finder, Step, Tests};
use crate::disk::read::hidden::Hidden;
use crate::disk::read::part::{ROWS, SegmentReader};
use crate::disk::read::selections::Selections;
use crate::wanted::{Budget, SetId, Wanted};

/// A set of matchers and its identity.
pub(crate) struct MatcherSet {
    pub(crate) wanted: Wanted,
    pub(crate) set: SetId,
}

impl MatcherSet {
    pub(crate) fn new(wanted: Wanted, selections: &Selections) -> Self {
        Self { set: selections.keys.of(&wanted), wanted }
    }
}

/// Picked entries, and how far the segment was searched.
pub(crate) struct Picked {
    pub(crate) ordinals: Vec<Ordinal>,
    /// All matching entries before this one are picked.
    pub(crate) up_to: Ordinal,
}

/// The number of entries that were counted from the end of a range, and how far it was searched.
pub(crate) struct Counted {
    pub(crate) found: usize,
    pub(crate) down_to: Ordinal,
}

impl SegmentReader {
    /// The finder of the matching entries. `None` if the budget was spent before the finder was
    /// complete.
    pub(crate) fn finder<'a>(
        &'a self,
        asked: &'a MatcherSet,
        selections: &Selections,
        budget: &mut Budget,
    ) -> Result<Option<Finder<'a>>, ReadError> {
        let (wanted, number) = (&asked.wanted, self.segment.header.previous.offset);
        if wanted.any() {
            return Ok(Some(Finder::All));
        }
        if wanted.none() {
            // No matchers select nothing. A request for everything has the pattern `*`.
            return Ok(Some(Finder::Lists(Vec::new())));
        }
        match &self.index {
            SegmentIndex::Memory(index, end) => Ok(Some(match wanted.topics() {
                Some(topics) => Finder::Lists(
                    topics.map(|topic| Cursor::new(index.of_topic(topic, *end))).collect(),
                ),
                None => {
                    let memo = selections.memo(number, asked.set, index.topics.lists());
                    Finder::Tested(index, wanted, memo)
                }
            })),
            SegmentIndex::File(file) => {
                let Some(resolution) = selections.resolution(number, asked.set, file.entries())
                else {
                    return Ok(Some(Finder::Read(Tests::new(self, wanted))));
                };
                let Some(selection) =
                    resolution.advance(file, wanted, budget).map_err(unreadable)?
                else {
                    return Ok(None);
                };
                // Charged for its true size from now on; until then, for one bit per entry.
                selections.settle(number, asked.set, &selection);
                Ok(Some(Finder::Selected(selection)))
            }
        }
    }

    /// Up to `count` matching entries from `first` on, fewer if the budget is spent.
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

    /// Counts matching events of a range that the reader may see, the newest first, up to `count`.
    /// Counts fewer if the budget is spent.
    pub(crate) fn count_back(
        &self,
        range: Range<Ordinal>,
        finder: &mut Finder<'_>,
        shown: &mut Shown<'_>,
        count: usize,
        budget: &mut Budget,
    ) -> Result<Counted, ReadError> {
        let mut counted = Counted { found: 0, down_to: range.end };
        while counted.found < count && counted.down_to > range.start && !budget.is_spent() {
            budget.examine();
            let Step { at, found } = finder.next_back(range.start..counted.down_to, budget)?;
            counted.down_to = at;
            if found && shown.counts(self, at, budget)? {
                counted.found += 1;
            }
        }
        Ok(counted)
    }
}

/// The events of a segment that a reader may see.
pub(crate) struct Shown<'a> {
    public: bool,
    granted: Finder<'a>,
    hidden: Hidden<'a>,
    /// Rows that were read, starting with the entry `from`.
    rows: Vec<Row>,
    from: Ordinal,
}

impl<'a> Shown<'a> {
    /// The events of a segment for a reader with a grant, who may see public ones, too. `None` if
    /// the budget was spent before that is known.
    pub(crate) fn of(
        part: &'a SegmentReader,
        (public, granted): (bool, &'a MatcherSet),
        selections: &Selections,
        budget: &mut Budget,
    ) -> Result<Option<Self>, ReadError> {
        // Both are made in turns. What is made is cached, so that a later turn has it at once.
        let Some(granted) = part.finder(granted, selections, budget)? else { return Ok(None) };
        let Some(hidden) = part.hidden(budget)? else { return Ok(None) };
        Ok(Some(Self { public, granted, hidden, rows: Vec::new(), from: 0 }))
    }

    /// Whether an entry is such an event. Entries are asked for from the newest to the oldest.
    pub(crate) fn counts(
        &mut self,
        part: &SegmentReader,
        at: Ordinal,
        budget: &mut Budget,
    ) -> Result<bool, ReadError> {
        let row = self.row(part, at)?;
        if !row.counts || self.hidden.has(at, row.offset) {
            return Ok(false);
        }
        // Whether an entry is private is in its row, so its topics need not be tested for public
        // ones.
        if matches!(self.granted, Finder::All) || (self.public && !row.private) {
            return Ok(true);
        }
        self.granted.contains(at, at..at + 1, budget)
    }

    /// The offset of an entry.
    pub(crate) fn offset(
        &mut self,
        part: &SegmentReader,
        at: Ordinal,
    ) -> Result<Offset, ReadError> {
        Ok(self.row(part, at)?.offset)
    }

    fn row(&mut self, part: &SegmentReader, at: Ordinal) -> Result<Row, ReadError> {
        if !(self.from..self.from + self.rows.len() as Ordinal).contains(&at) {
            self.from = at.saturating_sub(ROWS - 1);
            self.rows = part.row_run(self.from..at + 1)?;
        }
        Ok(self.rows[(at - self.from) as usize])
    }
}
