//! The recent entries of this node and their frames, by offset, bounded by bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use carafe_log::Entry;
use carafe_protocol::{Offset, Position};
use smallvec::SmallVec;

use crate::Format;
use crate::access::{Known, Sight};
use crate::frame::Frame;

/// The recent entries, each with the frames that someone has asked for, encoded once.
pub(crate) struct Ring {
    slots: VecDeque<Slot>,
    bytes: usize,
    limit: usize,
    /// Everything after this is here.
    floor: Offset,
    tail: Position,
}

/// One recent entry.
pub(crate) struct Slot {
    entry: Arc<Entry>,
    /// Most entries are sent in one format.
    frames: SmallVec<[(Format, Frame); 1]>,
    known: Known,
}

/// What the ring has at an offset.
pub(crate) enum Found {
    /// The entry, and its frame if a format was asked for; none if who asked needs one of its own.
    Shown(Arc<Entry>, Option<Frame>),
    /// An entry that is not shown to who asked.
    Hidden(Position),
}

impl Ring {
    /// An empty ring that goes on after `tail` and holds about `limit` bytes.
    pub(crate) fn new(limit: usize, tail: Position) -> Self {
        Self { slots: VecDeque::new(), bytes: 0, limit, floor: tail.offset, tail }
    }

    /// Everything after this offset is in the ring.
    pub(crate) fn floor(&self) -> Offset {
        self.floor
    }

    /// The newest position that the hub has read.
    pub(crate) fn tail(&self) -> Position {
        self.tail
    }

    pub(crate) fn has(&self, position: Position) -> bool {
        let at = self.slots.binary_search_by_key(&position.offset, |slot| slot.entry.offset());
        at.is_ok_and(|at| self.slots[at].entry.position == position)
    }

    /// How many entries it has after one offset, up to another.
    pub(crate) fn count(&self, after: Offset, until: Offset) -> usize {
        self.after(until) - self.after(after)
    }

    /// The newest entries up to an offset and after another, at most so many, the newest first.
    pub(crate) fn older(&self, after: Offset, until: Offset, most: usize) -> Vec<Arc<Entry>> {
        let newest_first = self.slots.range(self.after(after)..self.after(until)).rev();
        newest_first.take(most).map(|slot| Arc::clone(&slot.entry)).collect()
    }

    /// The place of the first entry after an offset.
    fn after(&self, offset: Offset) -> usize {
        self.slots.partition_point(|slot| slot.entry.offset() <= offset)
    }

    pub(crate) fn push(&mut self, entry: Arc<Entry>) {
        self.tail = entry.position;
        self.bytes += entry.weight();
        self.slots.push_back(Slot { entry, frames: SmallVec::new(), known: Known::default() });
    }

    /// Takes out the oldest entry while the ring is over its limit. The newest always stays.
    pub(crate) fn evict(&mut self) -> Option<Arc<Entry>> {
        if self.bytes <= self.limit || self.slots.len() <= 1 {
            return None;
        }
        let slot = self.slots.pop_front()?;
        self.bytes -= slot.weight();
        self.floor = slot.entry.offset();
        Some(slot.entry)
    }

    /// What is at this offset for who has this sight.
    pub(crate) fn get(
        &mut self,
        offset: Offset,
        sight: &Sight,
        format: Option<Format>,
    ) -> Option<Found> {
        let at = self.slots.binary_search_by_key(&offset, |slot| slot.entry.offset()).ok()?;
        let slot = &mut self.slots[at];
        if !slot.is_shown(sight, &mut self.bytes) {
            return Some(Found::Hidden(slot.entry.position));
        }
        let frame = match format {
            None => Some(Frame::default()),
            Some(format) if sight.shares_frame(&slot.entry.publication, format) => {
                Some(slot.frame(format, &mut self.bytes))
            }
            Some(_) => None,
        };
        Some(Found::Shown(Arc::clone(&slot.entry), frame))
    }
}

impl Slot {
    fn weight(&self) -> usize {
        let frames: usize = self.frames.iter().map(|(_, frame)| frame.len()).sum();
        self.entry.weight() + frames + self.known.weight()
    }

    fn is_shown(&mut self, sight: &Sight, bytes: &mut usize) -> bool {
        let before = self.known.weight();
        let shown = sight.shows_as_known(&self.entry.publication, &mut self.known);
        *bytes += self.known.weight() - before;
        shown
    }

    fn frame(&mut self, format: Format, bytes: &mut usize) -> Frame {
        if let Some((_, frame)) = self.frames.iter().find(|(known, _)| *known == format) {
            return frame.clone();
        }
        let frame = format.event(&self.entry);
        *bytes += frame.len();
        self.frames.push((format, frame.clone()));
        frame
    }
}
