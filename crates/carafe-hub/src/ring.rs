//! The recent entries of this node and their frames, by offset, bounded by bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use carafe_log::Entry;
use carafe_protocol::{Offset, Position};

use crate::Form;

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
    frames: [Option<Bytes>; Form::COUNT],
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

    pub(crate) fn push(&mut self, entry: Arc<Entry>) {
        self.tail = entry.position;
        self.bytes += entry.weight();
        self.slots.push_back(Slot { entry, frames: Default::default() });
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

    /// The entry at this offset, and its frame if a form is asked for.
    pub(crate) fn get(&mut self, offset: Offset, form: Option<Form>) -> Option<(Arc<Entry>, Bytes)> {
        let at = self.slots.binary_search_by_key(&offset, |slot| slot.entry.offset()).ok()?;
        let slot = &mut self.slots[at];
        let Some(form) = form else {
            return Some((Arc::clone(&slot.entry), Bytes::new()));
        };
        let frame = slot.frames[form as usize].get_or_insert_with(|| {
            let frame = form.encode(&slot.entry);
            self.bytes += frame.len();
            frame
        });
        Some((Arc::clone(&slot.entry), frame.clone()))
    }
}

impl Slot {
    fn weight(&self) -> usize {
        self.entry.weight() + self.frames.iter().flatten().map(Bytes::len).sum::<usize>()
    }
}
