//! Finding positions and reading blocks of entries.

use std::sync::Arc;
use std::time::SystemTime;

use carafe_protocol::{Offset, Position};

use crate::commit::is_between_commits;
use crate::disk::read::part::SegmentReader;
use crate::disk::read::pick::{self, MatcherSet};
use crate::disk::segment::sealed::Sealed;
use crate::disk::state::DiskShared;
use crate::disk::view::{Place, View};
use crate::wanted::{Budget, Wanted};
use crate::{Block, BlockLimit, Entry, Find, Picked, ReadError};

/// The maximum number of entries in one block.
const BLOCK: usize = 4096;

impl DiskShared {
    /// The relation of a position to the log, if no entry has to be read to determine it.
    pub(crate) fn find_at_once(&self, position: Position) -> Option<Find> {
        let view = self.view();
        if position == view.tail || position == view.start() {
            return Some(Find::Found);
        }
        // Before the comparison with the start: a position in a hole is lost, not trimmed.
        if let Some(end) = self.holes.with(position.offset).filter(|_| view.knows(position)) {
            return Some(if position == end { Find::Found } else { Find::Lost { common: end } });
        }
        if position.offset < view.start().offset {
            return Some(if view.knows(position) { Find::Trimmed } else { Find::Foreign });
        }
        if position.generation == view.segment.header.generation
            && position.offset > view.tail.offset
        {
            // A log that was restored by copying files continues in the same generation. Then it is
            // unknown which of its newest entries differ from those that the client has seen. So
            // the stream resumes after all of them, and the gap says so. `carafe log restore`
            // begins a new generation, which records the end of the common part.
            return Some(if self.supplied {
                Find::Ahead
            } else {
                Find::Lost { common: view.tail }
            });
        }
        // The history of another node begins there.
        if self.supplied
            && is_between_commits(position)
            && position.generation == view.segment.header.generation
        {
            return Some(Find::Found);
        }
        let common = view.end_of(position.generation)?;
        (position.offset > common.offset).then_some(Find::Lost { common })
    }

    pub(crate) fn find(&self, position: Position) -> Result<Find, ReadError> {
        if let Some(find) = self.find_at_once(position) {
            return Ok(find);
        }
        match self.entry_at(&self.view(), position.offset) {
            // The segment went after the view was loaded. A newer view has a later start, so this
            // ends after as many rounds as there are trims.
            Err(ReadError::Trimmed { .. }) => self.find(position),
            entry => {
                let found = entry?.is_some_and(|entry| entry.position == position);
                Ok(if found { Find::Found } else { Find::Foreign })
            }
        }
    }

    /// The time of the newest entry.
    pub(crate) fn newest_time(&self) -> Result<Option<SystemTime>, ReadError> {
        let view = self.view();
        Ok(self.entry_at(&view, view.tail.offset)?.map(|entry| entry.time))
    }

    /// The entry with exactly this offset.
    pub(crate) fn entry_at(&self, view: &View, offset: Offset) -> Result<Option<Entry>, ReadError> {
        let part = self.part(view, &view.place_of(offset))?;
        part.row_at(offset)?.map(|row| part.segment.entry(row)).transpose()
    }

    /// Reads a block. `None` if the turn ended before there was a result.
    pub(crate) fn read(
        &self,
        after: Offset,
        asked: &MatcherSet,
        limit: BlockLimit,
    ) -> Result<Option<Block>, ReadError> {
        let view = self.view();
        let start = view.start();
        if after < start.offset {
            return Err(ReadError::Trimmed { after, start });
        }
        // Reported even if nothing in the hole would match: what was lost there is unknown.
        if let Some(up_to) = self.holes.after(after) {
            return Err(ReadError::Lost { after, up_to });
        }
        let (place, after) = self.first_with(&view, after, &asked.wanted);
        match self.part(&view, &place).and_then(|part| self.read_part(&part, after, asked, limit)) {
            // The segment was trimmed after the view was loaded: start again with a newer view.
            Err(ReadError::Trimmed { .. }) => self.read(after, asked, limit),
            block => block,
        }
    }

    /// The position before an offset.
    pub(crate) fn before(&self, offset: Offset) -> Result<Position, ReadError> {
        let view = self.view();
        if offset <= view.start().offset {
            return Ok(view.start());
        }
        let part = self.part(&view, &view.place_of(offset));
        match part.and_then(|part| part.before(part.first_after(offset.saturating_sub(1))?)) {
            // A newer view has a later start.
            Err(ReadError::Trimmed { .. }) => self.before(offset),
            position => position,
        }
    }

    /// Reads entries at these offsets from the segment of the first one.
    pub(crate) fn read_at(
        &self,
        offsets: &[Offset],
        limit: BlockLimit,
    ) -> Result<Picked, ReadError> {
        let view = self.view();
        let gone = Picked { entries: Vec::new(), passed: 1.min(offsets.len()) };
        let Some(first) = offsets.first().filter(|first| **first > view.start().offset) else {
            return Ok(gone);
        };
        match self.part(&view, &view.place_of(*first)).and_then(|part| at(&part, offsets, limit)) {
            Err(ReadError::Trimmed { .. }) => Ok(gone),
            picked => picked,
        }
    }

    fn read_part(
        &self,
        part: &SegmentReader,
        after: Offset,
        asked: &MatcherSet,
        limit: BlockLimit,
    ) -> Result<Option<Block>, ReadError> {
        let mut budget = Budget::turn();
        // Picked by the index first, and read afterwards in one run: neighbouring records need one
        // system call.
        let picked = self.pick(part, after, asked, limit.entries.clamp(1, BLOCK), &mut budget);
        self.spent(&budget);
        picked?.map(|picked| block(part, &picked, limit)).transpose()
    }

    fn pick(
        &self,
        part: &SegmentReader,
        after: Offset,
        asked: &MatcherSet,
        count: usize,
        budget: &mut Budget,
    ) -> Result<Option<pick::Picked>, ReadError> {
        let Some(mut finder) = part.finder(asked, &self.selections, budget)? else {
            return Ok(None);
        };
        part.pick(part.first_after(after)?, &mut finder, count, budget).map(Some)
    }

    /// The first segment after an offset that may have a matching entry, and the offset from which
    /// to read there. The search does not pass a hole, which has to be reported.
    fn first_with(&self, view: &View, mut after: Offset, wanted: &Wanted) -> (Place, Offset) {
        let is_passed = |sealed: &Sealed| {
            !sealed.may_have_any_of(wanted) && self.holes.after(sealed.last_offset()).is_none()
        };
        loop {
            match view.place_of(after.saturating_add(1)) {
                Place::Sealed(sealed) if is_passed(&sealed) => after = sealed.last_offset(),
                place => return (place, after),
            }
        }
    }
}

/// Reads the entries of this segment at these offsets, of which the first is there.
fn at(part: &SegmentReader, offsets: &[Offset], limit: BlockLimit) -> Result<Picked, ReadError> {
    let here = offsets.partition_point(|offset| *offset <= part.last.offset).max(1);
    let offsets = &offsets[..here.min(limit.entries.clamp(1, BLOCK))];
    let mut ordinals = Vec::with_capacity(offsets.len());
    for offset in offsets {
        ordinals.push(part.first_after(offset.saturating_sub(1))?);
    }
    // An offset that is no entry has found the next one.
    ordinals.retain(|ordinal| *ordinal < part.entries());
    ordinals.dedup();
    let mut rows = part.rows(&ordinals)?;
    rows.retain(|row| offsets.binary_search(&row.offset).is_ok());
    let (mut picked, mut bytes) = (Picked { entries: Vec::new(), passed: offsets.len() }, 0);
    part.read(&rows, |entry| {
        bytes += entry.weight();
        if !picked.entries.is_empty() && bytes > limit.bytes {
            picked.passed = offsets.partition_point(|offset| *offset < entry.offset());
            return false;
        }
        picked.entries.push(Arc::new(entry));
        true
    })?;
    Ok(picked)
}

/// Reads the picked entries, up to the limit.
fn block(
    part: &SegmentReader,
    picked: &pick::Picked,
    limit: BlockLimit,
) -> Result<Block, ReadError> {
    let rows = part.rows(&picked.ordinals)?;
    let (mut entries, mut bytes) = (Vec::<Arc<Entry>>::with_capacity(rows.len()), 0);
    part.read(&rows, |entry| {
        // The first entry is returned whatever its size, or the reader would never get past it.
        bytes += entry.weight();
        if !entries.is_empty() && bytes > limit.bytes {
            return false;
        }
        entries.push(Arc::new(entry));
        true
    })?;
    let up_to = match entries.last() {
        // If the block ends with its last picked entry, or was cut off by the limit, it reaches
        // exactly to that entry. Otherwise it reaches as far as the search came, over entries that
        // do not match.
        Some(last)
            if entries.len() < rows.len()
                || picked.ordinals.last() == Some(&(picked.up_to - 1)) =>
        {
            last.position
        }
        _ => part.before(picked.up_to)?,
    };
    Ok(Block { entries, up_to })
}
