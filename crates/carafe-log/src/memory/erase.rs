//! Erasures in memory. From the moment when one is stored, readers do not get what it erases. The
//! content is then taken out of the entries, some at a time, so that the lock is not held for long.

use std::sync::Arc;

use carafe_protocol::Offset;

use super::shared::MemoryShared;
use super::state::State;
use crate::{Entry, Erasures};

/// The number of entries that are looked at under one lock: some tens of microseconds.
const ENTRIES: usize = 512;

/// Takes erased content out of all entries, on a thread of the log if there are many: whoever waits
/// for the erasure may leave.
pub(super) fn carry_out(log: &Arc<MemoryShared>) {
    let shared = Arc::clone(log);
    let turn = move || shared.state().erase_some();
    if turn() {
        return;
    }
    match log.readers() {
        Ok(readers) => readers.push(Box::new(turn)),
        Err(_) => while !turn() {},
    }
}

impl State {
    /// Takes notice of an entry that is about to be stored.
    pub(super) fn begin_erasure(&mut self, entry: &Entry) {
        if self.erasures.add(entry) {
            self.erased_to = self.start.offset;
            self.remembered.erase(entry);
        }
    }

    /// The entry as readers get it.
    pub(super) fn readable(&self, entry: &Arc<Entry>) -> Arc<Entry> {
        if self.erasures.covers(entry) { Arc::new(entry.erased()) } else { Arc::clone(entry) }
    }

    /// Takes erased content out of some entries; whether that were all.
    pub(super) fn erase_some(&mut self) -> bool {
        if self.erasures.is_empty() {
            return true;
        }
        let next: Vec<_> = self.after(self.erased_to).take(ENTRIES).cloned().collect();
        let erased: Vec<_> = next.iter().filter(|entry| self.erasures.covers(entry)).collect();
        erased.into_iter().for_each(|entry| self.erase(entry));
        self.erased_to = next.last().map_or(Offset::MAX, |entry| entry.offset());
        let is_done = next.len() < ENTRIES;
        if is_done {
            self.erasures = Erasures::default();
        }
        is_done
    }

    fn erase(&mut self, entry: &Entry) {
        self.forget_key(entry);
        let kept =
            if entry.publication.is_of_hub() { &mut self.of_hub } else { &mut self.published };
        kept.replace(entry.erased());
    }
}
