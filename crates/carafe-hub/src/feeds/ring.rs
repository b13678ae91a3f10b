//! The recent entries of this node and their frames, by offset, bounded by bytes. Everything runs
//! under the hub's lock.

use std::collections::VecDeque;
use std::sync::Arc;

use carafe_log::{Entry, Erasures};
use carafe_protocol::{Offset, Position};
use smallvec::SmallVec;

use crate::format::Format;
use crate::frame::Frame;
use crate::visibility::{InternedAccess, VisibilityCache};

/// The recent entries, each with the frames that were requested, encoded once.
pub(crate) struct Ring {
    entries: VecDeque<RecentEntry>,
    bytes: usize,
    limit: usize,
    /// All entries after this offset are in the ring.
    floor: Offset,
    tail: Position,
    /// Erasures whose events may still be in the ring with their content.
    erasures: Erasures,
    /// The number of erasures beyond which those that the ring has passed are looked for.
    most_erasures: usize,
}

/// The number of erasures that the ring holds without looking for those that it has passed.
const ERASURES: usize = 64;

/// One recent entry.
struct RecentEntry {
    entry: Arc<Entry>,
    /// Most entries are sent in one format.
    frames: SmallVec<[(Format, Frame); 1]>,
    visibility: VisibilityCache,
}

/// What the ring has at an offset.
pub(crate) enum RingEntry {
    /// The entry, and its frame if a format was given. No frame if the subscription needs one of
    /// its own.
    Shown(Arc<Entry>, Option<Frame>),
    /// An entry that the subscription may not see.
    Hidden(Position),
}

impl Ring {
    /// An empty ring that continues after `tail` and holds about `limit` bytes.
    pub(crate) fn new(limit: usize, tail: Position) -> Self {
        let (entries, erasures) = (VecDeque::new(), Erasures::default());
        let floor = tail.offset;
        Self { entries, bytes: 0, limit, floor, tail, erasures, most_erasures: ERASURES }
    }

    /// All entries after this offset are in the ring.
    pub(crate) fn floor(&self) -> Offset {
        self.floor
    }

    /// The newest position that the hub has read.
    pub(crate) fn tail(&self) -> Position {
        self.tail
    }

    pub(crate) fn contains(&self, position: Position) -> bool {
        // The whole position: after a lost tail, another entry may have the same offset.
        self.find(position.offset).is_some_and(|at| self.entries[at].entry.position == position)
    }

    /// How many entries the ring has after one offset, up to another.
    pub(crate) fn count(&self, after: Offset, until: Offset) -> usize {
        // Not below zero: callers pass `after` up to `until`, and the index grows with the offset.
        self.index_after(until) - self.index_after(after)
    }

    /// At most `max` entries after one offset, up to another: the newest of them, newest first.
    pub(crate) fn newest_before(
        &self,
        after: Offset,
        until: Offset,
        max: usize,
    ) -> Vec<Arc<Entry>> {
        let range = self.index_after(after)..self.index_after(until);
        let newest_first = self.entries.range(range).rev();
        newest_first.take(max).map(|recent| Arc::clone(&recent.entry)).collect()
    }

    pub(crate) fn push(&mut self, entry: Arc<Entry>) {
        // A log appends in order, so the entries stay sorted for the binary searches.
        self.tail = entry.position;
        self.add_erasure(&entry);
        self.bytes += entry.weight();
        let (frames, visibility) = (SmallVec::new(), VisibilityCache::default());
        self.entries.push_back(RecentEntry { entry, frames, visibility });
    }

    /// From now on, earlier entries that the erasure covers are not in the ring with their content.
    /// They are not looked for now, since that would take too long under the lock.
    fn add_erasure(&mut self, entry: &Entry) {
        if self.erasures.add(entry) && self.erasures.len() > self.most_erasures {
            self.erasures.trim(self.floor);
            self.most_erasures = ERASURES + 2 * self.erasures.len();
        }
    }

    /// Takes the content out of an entry that was erased since it was added.
    fn erase_if_covered(&mut self, at: usize) {
        let recent = &mut self.entries[at];
        if self.erasures.is_empty() || !self.erasures.covers(&recent.entry) {
            return;
        }
        self.bytes -= recent.weight();
        recent.entry = Arc::new(recent.entry.erased());
        recent.frames.clear();
        self.bytes += recent.weight();
    }

    /// Removes the oldest entry if the ring is over its limit. The newest entry always stays.
    pub(crate) fn evict(&mut self) -> Option<Arc<Entry>> {
        // One entry may be larger than the ring. It stays, or no subscriber would be served from
        // memory.
        if self.bytes <= self.limit || self.entries.len() <= 1 {
            return None;
        }
        let oldest = self.entries.pop_front()?;
        self.bytes -= oldest.weight();
        // Offsets have holes, so this is not the first entry's offset less one.
        self.floor = oldest.entry.offset();
        Some(oldest.entry)
    }

    /// The entry at this offset, for a subscription with this access.
    pub(crate) fn get(
        &mut self,
        offset: Offset,
        access: &InternedAccess,
        format: Option<Format>,
    ) -> Option<RingEntry> {
        let at = self.find(offset)?;
        self.erase_if_covered(at);
        let recent = &mut self.entries[at];
        if !recent.is_shown(access, &mut self.bytes) {
            return Some(RingEntry::Hidden(recent.entry.position));
        }
        let frame = match format {
            None => Some(Frame::default()),
            Some(format) if access.shares_frame(&recent.entry.publication, format) => {
                Some(recent.frame(format, &mut self.bytes))
            }
            Some(_) => None,
        };
        Some(RingEntry::Shown(Arc::clone(&recent.entry), frame))
    }

    fn find(&self, offset: Offset) -> Option<usize> {
        let newest = self.entries.back()?.entry.offset();
        // Holes are rare, and most subscriptions are near the tail: a search would touch entries
        // that are in no cache.
        let without_holes =
            self.entries.len().checked_sub(1 + (newest.checked_sub(offset)? as usize));
        if let Some(at) = without_holes
            && self.entries[at].entry.offset() == offset
        {
            return Some(at);
        }
        self.entries.binary_search_by_key(&offset, |recent| recent.entry.offset()).ok()
    }

    /// The index of the first entry after an offset.
    fn index_after(&self, offset: Offset) -> usize {
        self.entries.partition_point(|recent| recent.entry.offset() <= offset)
    }
}

impl RecentEntry {
    fn weight(&self) -> usize {
        let frames: usize = self.frames.iter().map(|(_, frame)| frame.len()).sum();
        self.entry.weight() + frames + self.visibility.weight()
    }

    fn is_shown(&mut self, access: &InternedAccess, bytes: &mut usize) -> bool {
        let before = self.visibility.weight();
        let shown = access.shows_cached(&self.entry.publication, &mut self.visibility);
        // A cache never shrinks.
        *bytes += self.visibility.weight() - before;
        shown
    }

    /// The frame in this format. It is encoded when it is first needed.
    fn frame(&mut self, format: Format, bytes: &mut usize) -> Frame {
        let format = format.of_kind(self.entry.publication.kind());
        if let Some((_, frame)) = self.frames.iter().find(|(known, _)| *known == format) {
            return frame.clone();
        }
        let frame = format.entry(&self.entry);
        *bytes += frame.len();
        self.frames.push((format, frame.clone()));
        frame
    }
}
