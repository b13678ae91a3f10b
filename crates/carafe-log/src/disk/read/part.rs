//! Reading one segment, whether its index is in memory or in a file.

use std::ops::Range;
use std::sync::Arc;

use carafe_protocol::{Offset, Position, Topic};

use crate::disk::format::commit::Row;
use crate::disk::format::index::Ordinal;
use crate::disk::index::file::{SegmentIndex, unreadable};
use crate::disk::read::hidden::Hidden;
use crate::disk::segment::file::Segment;
use crate::disk::segment::sealed::Sealed;
use crate::wanted::Budget;
use crate::{Entry, Erasures, ReadError};

/// One segment at the moment of a view. Entries that are appended later are not part of it.
pub(crate) struct SegmentReader {
    pub(crate) segment: Segment,
    /// The position of the last entry.
    pub(crate) last: Position,
    pub(crate) index: SegmentIndex,
    /// The erasures that are applied to what is read.
    pub(crate) erasures: Option<Arc<Erasures>>,
    /// `None` for the active segment.
    pub(crate) sealed: Option<Arc<Sealed>>,
}

/// The number of rows that are read at once to find private entries.
pub(crate) const ROWS: Ordinal = 340;

impl SegmentReader {
    /// A reader of what a sealed segment has on the disk, with its index.
    pub(crate) fn of(sealed: &Arc<Sealed>, index: SegmentIndex) -> Self {
        let (segment, last) = (sealed.segment.clone(), sealed.summary.last);
        Self { segment, last, index, erasures: None, sealed: Some(Arc::clone(sealed)) }
    }

    pub(crate) fn entries(&self) -> Ordinal {
        match &self.index {
            SegmentIndex::Memory(_, entries) => *entries,
            SegmentIndex::File(file) => file.entries(),
        }
    }

    /// Whether an entry has an idempotency key.
    pub(crate) fn has_keys(&self) -> bool {
        match &self.index {
            SegmentIndex::Memory(index, _) => index.topic_keys.lists() > 0,
            SegmentIndex::File(file) => file.counts().topic_keys > 0,
        }
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

    /// The row of the entry with exactly this offset.
    pub(crate) fn row_at(&self, offset: Offset) -> Result<Option<Row>, ReadError> {
        let ordinal = self.first_after(offset.saturating_sub(1))?;
        if ordinal == self.entries() {
            return Ok(None);
        }
        Ok(self.rows(&[ordinal])?.pop().filter(|row| row.offset == offset))
    }

    /// The entries of a topic.
    pub(crate) fn of_topic(&self, topic: &Topic) -> Result<Vec<Ordinal>, ReadError> {
        match &self.index {
            SegmentIndex::Memory(index, end) => {
                Ok(index.of_topic(topic, *end).into_iter().collect())
            }
            SegmentIndex::File(file) => {
                file.of_topic(topic).and_then(|places| file.ordinals(places)).map_err(unreadable)
            }
        }
    }

    /// Reads entries in order, as readers get them, until `each` returns `false`.
    pub(crate) fn read(
        &self,
        rows: &[Row],
        mut each: impl FnMut(Entry) -> bool,
    ) -> Result<(), ReadError> {
        match &self.erasures {
            None => self.segment.entries(rows, each),
            Some(erasures) => self.segment.entries(rows, |entry| each(erasures.apply(entry))),
        }
    }

    /// The first of these entries, as readers get them, for which `is_it` returns `true`.
    pub(crate) fn first_of(
        &self,
        rows: &[Row],
        is_it: impl Fn(&Entry) -> bool,
    ) -> Result<Option<Entry>, ReadError> {
        let mut found = None;
        self.read(rows, |entry| {
            found = Some(entry).filter(&is_it);
            found.is_none()
        })?;
        Ok(found)
    }

    /// The last of these entries, as readers get them, for which `is_it` returns `true`.
    pub(crate) fn last_of(
        &self,
        rows: &[Row],
        is_it: impl Fn(&Entry) -> bool,
    ) -> Result<Option<Entry>, ReadError> {
        for rows in rows.rchunks(ROWS as usize) {
            let mut found = None;
            self.read(rows, |entry| {
                found = if is_it(&entry) { Some(entry) } else { found.take() };
                true
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The entries that waiting erasures hide. `None` if the budget was spent before they are
    /// found.
    pub(crate) fn hidden(&self, budget: &mut Budget) -> Result<Option<Hidden<'_>>, ReadError> {
        let is_before =
            |erasures: &&Erasures| self.segment.header.previous.offset < erasures.newest();
        let Some(erasures) = self.erasures.as_deref().filter(is_before) else {
            return Ok(Some(Hidden::None));
        };
        let (file, sealed) = match (&self.index, &self.sealed) {
            (SegmentIndex::File(file), Some(sealed)) => (file, sealed),
            (SegmentIndex::Memory(index, _), _) => {
                return Ok(Some(Hidden::ByTopic(index, erasures)));
            }
            // Only sealed segments have a file.
            (SegmentIndex::File(_), None) => return Ok(Some(Hidden::None)),
        };
        let may_have = |topic: &Topic| sealed.may_have_topic(topic);
        let found = sealed.erased.find(file, erasures, may_have, budget).map_err(unreadable)?;
        Ok(found.map(|selection| Hidden::Selected(selection, erasures)))
    }

    /// The entries of a range.
    pub(crate) fn run(&self, range: Range<Ordinal>) -> Result<Vec<Entry>, ReadError> {
        let (rows, mut entries) = (self.row_run(range)?, Vec::new());
        self.read(&rows, |entry| {
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
