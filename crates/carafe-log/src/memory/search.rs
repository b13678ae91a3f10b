//! Reads of a log in memory. They copy out references to a few entries under the lock, and test
//! them without it.

use std::cell::RefCell;
use std::sync::Arc;

use carafe_protocol::{Offset, Position, Topic, TopicMatcher};

use super::shared::MemoryShared;
use super::state::State;
use crate::latest::Newest;
use crate::wanted::{Budget, Wanted};
use crate::{Access, Block, BlockLimit, Entry, ExternalId, Latest, LatestQuery, Picked, ReadError};

/// The number of entries that are copied out at once. The lock is held for some microseconds.
const TAKEN: usize = 256;

/// A read of one block.
pub(super) struct BlockRead {
    pub(super) after: Offset,
    pub(super) wanted: Wanted,
    pub(super) limit: BlockLimit,
}

impl BlockRead {
    /// Reads a block. If the budget is spent before the block is complete, returns the partial
    /// block if `partial` is set, and `None` otherwise.
    pub(super) fn turn(
        &self,
        log: &MemoryShared,
        budget: &mut Budget,
        partial: bool,
    ) -> Result<Option<Block>, ReadError> {
        let (mut block, mut bytes) = (None, 0);
        loop {
            let after = block.as_ref().map_or(self.after, |block: &Block| block.up_to.offset);
            let (before, taken) = match log.state().take_after(after, TAKEN) {
                // The rest was trimmed meanwhile. The entries read so far are a valid block.
                Err(error) => return block.map_or(Err(error), |block| Ok(Some(block))),
                Ok(taken) => taken,
            };
            let block = block.get_or_insert(Block { entries: Vec::new(), up_to: before });
            let count = taken.len();
            for entry in taken {
                if budget.is_spent() {
                    return Ok(partial.then(|| block.clone()));
                }
                if self.wanted.matches_any_of(&entry.publication, budget) {
                    bytes += entry.weight();
                    let is_full =
                        block.entries.len() >= self.limit.entries || bytes > self.limit.bytes;
                    // The first entry is returned whatever its size, or the reader would never get
                    // past it.
                    if is_full && !block.entries.is_empty() {
                        return Ok(Some(block.clone()));
                    }
                    block.entries.push(Arc::clone(&entry));
                }
                // Also for an entry that does not match: the next block need not test it again.
                block.up_to = entry.position;
            }
            if count < TAKEN {
                return Ok(Some(block.clone()));
            }
        }
    }
}

/// A search for the last matching entries, in turns.
pub(super) struct LastSearch {
    wanted: Wanted,
    public: bool,
    granted: Wanted,
    /// The search continues before this offset. `None` at the start.
    before: Option<Offset>,
    left: usize,
    tests: u64,
}

impl LastSearch {
    pub(super) fn new(count: usize, wanted: Vec<TopicMatcher>, access: &Access) -> Self {
        Self {
            wanted: Wanted::new(wanted),
            public: access.includes_public(),
            granted: Wanted::new(access.grant().matchers()),
            before: None,
            left: count,
            tests: 0,
        }
    }

    /// Runs one turn. `None` if the search is not finished.
    pub(super) fn turn(
        &mut self,
        log: &MemoryShared,
        budget: &mut Budget,
        limit: u64,
    ) -> Result<Option<Position>, ReadError> {
        let spent = budget.tests();
        let found = self.search(log, budget);
        self.tests += budget.tests() - spent;
        if found.is_none() && self.tests > limit {
            return Err(ReadError::TooMuchWork { limit });
        }
        Ok(found)
    }

    fn search(&mut self, log: &MemoryShared, budget: &mut Budget) -> Option<Position> {
        if self.left == 0 {
            return Some(log.state().tail());
        }
        while !budget.is_spent() {
            let (before, taken) = log.state().take_before(self.before, TAKEN);
            // No older entry is left: fewer match than were requested.
            let Some(first) = taken.first().map(|entry| entry.offset()) else {
                return Some(before);
            };
            // A turn ends after a whole portion, so it may exceed its budget by the tests of
            // `TAKEN` entries.
            for at in (0..taken.len()).rev() {
                if self.counts(&taken[at], budget) {
                    self.left -= 1;
                }
                if self.left == 0 {
                    return Some(at.checked_sub(1).map_or(before, |last| taken[last].position));
                }
            }
            self.before = Some(first);
        }
        None
    }

    fn counts(&self, entry: &Entry, budget: &mut Budget) -> bool {
        let publication = &entry.publication;
        let is_public = self.public && !publication.is_private();
        publication.counts()
            && self.wanted.matches_any_of(publication, budget)
            && (is_public || self.granted.matches_any_of(publication, budget))
    }
}

/// A search for the newest entries of each topic, in turns.
pub(super) struct LatestSearch {
    wanted: Wanted,
    public: bool,
    granted: Wanted,
    after: Offset,
    /// The search continues before this offset. `None` at the start.
    before: Option<Offset>,
    /// The newest position at the start.
    up_to: Option<Position>,
    /// How many topics still lack entries. `None` if patterns are wanted.
    lacking: Option<usize>,
    newest: Newest,
    tests: u64,
}

impl LatestSearch {
    pub(super) fn new(query: LatestQuery) -> Self {
        let newest = Newest::new(&query);
        let wanted = Wanted::new(query.wanted);
        Self {
            public: query.access.includes_public(),
            granted: Wanted::new(query.access.grant().matchers()),
            after: query.after,
            before: None,
            up_to: None,
            lacking: if query.count == 0 { Some(0) } else { wanted.topics().map(Iterator::count) },
            wanted,
            newest,
            tests: 0,
        }
    }

    /// Runs one turn. `None` if the search is not finished.
    pub(super) fn turn(
        &mut self,
        log: &MemoryShared,
        budget: &mut Budget,
        limit: u64,
    ) -> Result<Option<Latest>, ReadError> {
        let spent = budget.tests();
        let found = self.search(log, budget)?;
        self.tests += budget.tests() - spent;
        if found.is_none() && self.tests > limit {
            return Err(ReadError::TooMuchWork { limit });
        }
        Ok(found)
    }

    fn search(
        &mut self,
        log: &MemoryShared,
        budget: &mut Budget,
    ) -> Result<Option<Latest>, ReadError> {
        while !budget.is_spent() {
            let taken = self.take(log);
            let after = self.after;
            let mut examined = 0;
            for entry in taken.iter().rev().filter(|entry| entry.offset() > after) {
                examined += 1;
                self.before = Some(entry.offset());
                self.examine(entry, budget)?;
            }
            if examined == 0 || self.lacking == Some(0) {
                return Ok(self.up_to.map(|up_to| self.newest.finish(up_to)));
            }
        }
        Ok(None)
    }

    /// The next entries, and at the start the tail, under one lock.
    fn take(&mut self, log: &MemoryShared) -> Vec<Arc<Entry>> {
        let state = log.state();
        let tail = state.tail();
        self.up_to.get_or_insert(tail);
        state.take_before(self.before, TAKEN).1
    }

    fn examine(&mut self, entry: &Entry, budget: &mut Budget) -> Result<(), ReadError> {
        budget.examine();
        let Self { wanted, public, granted, newest, lacking, .. } = self;
        let publication = &entry.publication;
        // The two closures take turns with the budget.
        let budget = RefCell::new(budget);
        let is_wanted = |topic: &Topic| wanted.matches(topic, &mut budget.borrow_mut());
        let is_shown = || {
            (*public && !publication.is_private())
                || granted.matches_any_of(publication, &mut budget.borrow_mut())
        };
        let completed = newest.take(entry, is_wanted, is_shown)?;
        if let Some(lacking) = lacking {
            *lacking -= completed;
        }
        Ok(())
    }
}

/// A search for the earliest entry with an external ID that the reader may see, in turns.
pub(super) struct ExternalIdSearch {
    pub(super) id: ExternalId,
    pub(super) access: Access,
    /// The search has examined entries up to this offset.
    pub(super) after: Offset,
}

impl ExternalIdSearch {
    /// Runs one turn. `None` if the search is not finished.
    pub(super) fn turn(&mut self, log: &MemoryShared) -> Option<Option<Position>> {
        let taken = log.state().take_with_external_id(&self.id, self.after, TAKEN);
        let is_it = |entry: &&Arc<Entry>| {
            // An erased event has no ID any more.
            entry.publication.external_id() == Some(&self.id)
                && self.access.shows(&entry.publication)
        };
        let shown = taken.iter().find(is_it);
        // A full portion without a shown entry may be followed by others.
        if shown.is_some() || taken.len() < TAKEN {
            return Some(shown.map(|entry| entry.position));
        }
        self.after = taken.last().map_or(self.after, |entry| entry.offset());
        None
    }
}

impl State {
    /// Entries after an offset, and the position before them.
    fn take_after(
        &self,
        after: Offset,
        count: usize,
    ) -> Result<(Position, Vec<Arc<Entry>>), ReadError> {
        if after < self.start.offset {
            return Err(ReadError::Trimmed { after, start: self.start });
        }
        let before = self.up_to(after).next().map_or(self.start, |entry| entry.position);
        let taken = self.after(after).take(count).map(|entry| self.readable(entry));
        Ok((before, taken.collect()))
    }

    /// The last entries before an offset, and the position before them.
    fn take_before(&self, before: Option<Offset>, count: usize) -> (Position, Vec<Arc<Entry>>) {
        let mut older = self.up_to(before.map_or(Offset::MAX, |before| before.saturating_sub(1)));
        let mut taken: Vec<_> =
            older.by_ref().take(count).map(|entry| self.readable(entry)).collect();
        taken.reverse();
        (older.next().map_or(self.start, |entry| entry.position), taken)
    }

    /// The position before an offset.
    pub(super) fn before(&self, offset: Offset) -> Position {
        let older = self.up_to(offset.saturating_sub(1)).next();
        older.map_or(self.start, |entry| entry.position)
    }

    /// The entries at these offsets that are stored.
    pub(super) fn read_at(&self, offsets: &[Offset], limit: BlockLimit) -> Picked {
        let (mut picked, mut bytes) = (Picked { entries: Vec::new(), passed: 0 }, 0);
        // The lock is held for some microseconds.
        for offset in offsets.iter().take(TAKEN) {
            let entry = self.entry_at(*offset);
            bytes += entry.map_or(0, |entry| entry.weight());
            let is_full = picked.entries.len() >= limit.entries || bytes > limit.bytes;
            if is_full && !picked.entries.is_empty() {
                break;
            }
            picked.entries.extend(entry.map(|entry| self.readable(entry)));
            picked.passed += 1;
        }
        picked
    }

    /// Entries with an external ID after an offset.
    fn take_with_external_id(
        &self,
        id: &ExternalId,
        after: Offset,
        count: usize,
    ) -> Vec<Arc<Entry>> {
        let Some(positions) = self.by_external_id.get(id) else { return Vec::new() };
        let from = positions.partition_point(|position| position.offset <= after);
        let positions = positions.range(from..positions.len().min(from + count));
        let entries = positions.filter_map(|position| self.entry_at(position.offset));
        entries.map(|entry| self.readable(entry)).collect()
    }
}
