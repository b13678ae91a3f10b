//! Reading one segment, whether its index is in memory or in a file.

use std::ops::Range;

use carafe_protocol::{Offset, Position};

use crate::disk::format::commit::Row;
use crate::disk::format::control;
use crate::disk::format::index::Ordinal;
use crate::disk::index::file::{SegmentIndex, unreadable};
use crate::disk::segment::file::Segment;
use crate::{Entry, ReadError};

/// One segment at the moment of a view. Entries that are appended later are not part of it.
pub(crate) struct SegmentReader {
    pub(crate) segment: Segment,
    /// The position of the last entry.
    pub(crate) last: Position,
    pub(crate) index: SegmentIndex,
}

/// The number of rows that are read at once to find private entries.
pub(crate) const ROWS: Ordinal = 340;

impl SegmentReader {
    pub(crate) fn entries(&self) -> Ordinal {
        match &self.index {
            SegmentIndex::Memory(_, entries) => *entries,
            SegmentIndex::File(file) => file.entries(),
        }
    }

    /// The offsets of entries that are no events, in order.
    pub(crate) fn offsets_of_control(&self) -> Result<Vec<Offset>, ReadError> {
        let offsets = match &self.index {
            SegmentIndex::Memory(index, _) => {
                control::offsets(&index.control(), &self.segment.header)
            }
            SegmentIndex::File(file) => file.offsets_of_control().map_err(unreadable)?,
        };
        let damaged = || format!("the control entries of {} are damaged", self.segment.name);
        offsets.ok_or_else(|| ReadError::Damaged(damaged()))
    }

    /// The first entry after an offset.
    pub(crate) fn first_after(&self, offset: Offset) -> Result<Ordinal, ReadError> {
        match &self.index {
            SegmentIndex::Memory(index, entries) => Ok(index.first_after(offset, *entries)),
            SegmentIndex::File(file) => file.first_after(offset).map_err(unreadable),
        }
    }

    pub(crate) fn rows(&self, ordinals: &[Ordinal]) -> Result<Vec<Row>, ReadError> {
        match &self.index {
            SegmentIndex::Memory(index, _) => {
                Ok(ordinals.iter().map(|ordinal| index.row(*ordinal)).collect())
            }
            SegmentIndex::File(file) => file.rows(ordinals).map_err(unreadable),
        }
    }

    pub(crate) fn row_run(&self, range: Range<Ordinal>) -> Result<Vec<Row>, ReadError> {
        match &self.index {
            SegmentIndex::Memory(index, _) => Ok(range.map(|ordinal| index.row(ordinal)).collect()),
            SegmentIndex::File(file) => file.run(range).map_err(unreadable),
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

    /// The entries of a range around `at`, up to a number of bytes, and the number of the first
    /// one.
    pub(crate) fn run_near(
        &self,
        at: Ordinal,
        range: Range<Ordinal>,
        bytes: usize,
    ) -> Result<(Ordinal, Vec<Entry>), ReadError> {
        let rows = self.row_run(range.clone())?;
        // `at` is in `range`, as callers pass it.
        let (before, after) = rows.split_at((at - range.start) as usize);
        let mut room = bytes;
        let mut fits = |row: &&Row| match room.checked_sub(row.length as usize) {
            Some(left) => {
                room = left;
                true
            }
            None => false,
        };
        // The wanted entry is read even if it alone exceeds the limit.
        let later = after.iter().take_while(&mut fits).count().max(1);
        let earlier = before.iter().rev().take_while(&mut fits).count() as Ordinal;
        Ok((at - earlier, self.run(at - earlier..at + later as Ordinal)?))
    }

    /// The first of the newest entries that together fit into `room` bytes, which are subtracted.
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
            // The row exists: `last` is below the number of entries. The nonce of a position is
            // only in the record.
            Some(last) => Ok(self.segment.entry(self.row_run(last..ordinal)?[0])?.position),
        }
    }
}
