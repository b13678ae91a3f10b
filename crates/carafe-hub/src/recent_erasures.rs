//! Erasures that have come since events were read from the log or encoded.
//!
//! The log returns no erased event. But the hub may still hold what it read before an erasure:
//! blocks that are being replayed, and bytes that wait for a client. What it holds has a stamp, the
//! number of erasures by then, so that one comparison tells that nothing has changed.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carafe_log::{Entry, Erasures, Publication};

/// Erasures that are remembered. What was read before more of them is read again.
const REMEMBERED: usize = 1024;

/// The number of erasures at some moment. It wraps around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ErasureStamp(u32);

/// The newest erasures.
#[derive(Default)]
pub(crate) struct RecentErasures {
    number: AtomicU32,
    // A leaf in the lock order. Locked only after an erasure has come.
    recent: Mutex<VecDeque<(TopicBits, Arc<Entry>)>>,
}

impl RecentErasures {
    /// Adds the erasures among entries. Completes before the log answers to who has erased.
    pub(crate) fn add(&self, entries: &[Arc<Entry>]) {
        let is_erasure = |entry: &&Arc<Entry>| entry.publication.is_erasure();
        let mut erasures = entries.iter().filter(is_erasure).peekable();
        if erasures.peek().is_none() {
            return;
        }
        let mut recent = self.lock();
        for erasure in erasures {
            if recent.len() == REMEMBERED {
                recent.pop_front();
            }
            recent.push_back((TopicBits::of(&erasure.publication), Arc::clone(erasure)));
            // Released after the erasure is in the list: who sees the number finds it there.
            self.number.fetch_add(1, Ordering::Release);
        }
    }

    /// The stamp of what is read or encoded from now on.
    pub(crate) fn stamp(&self) -> ErasureStamp {
        ErasureStamp(self.number.load(Ordering::Acquire))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(TopicBits, Arc<Entry>)>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the erasures since a stamp begin; `None` if they are not all remembered. The list is
    /// locked, so that no erasure comes in between.
    fn first_since(
        &self,
        stamp: ErasureStamp,
        recent: &VecDeque<(TopicBits, Arc<Entry>)>,
    ) -> Option<usize> {
        recent.len().checked_sub(self.stamp().0.wrapping_sub(stamp.0) as usize)
    }

    /// The erasures since a stamp; `None` if they are not all remembered.
    pub(crate) fn since(&self, stamp: ErasureStamp) -> Option<Erasures> {
        let entries: Vec<_> = {
            let recent = self.lock();
            let first = self.first_since(stamp, &recent)?;
            recent.range(first..).map(|(_, entry)| Arc::clone(entry)).collect()
        };
        let mut erasures = Erasures::default();
        for entry in entries {
            erasures.add(&entry);
        }
        Some(erasures)
    }

    /// Applies the erasures since a stamp to entries that were read by then, and moves the stamp.
    /// If they are not all remembered, it returns `false`, and the entries have to be read again.
    pub(crate) fn apply(
        &self,
        entries: &mut VecDeque<Arc<Entry>>,
        stamp: &mut ErasureStamp,
    ) -> bool {
        // Before the list is read: an erasure that comes meanwhile is applied twice, not never.
        let now = self.stamp();
        if now == *stamp {
            return true;
        }
        let Some(erasures) = self.since(*stamp) else { return false };
        for entry in entries.iter_mut().filter(|entry| erasures.covers(entry)) {
            *entry = Arc::new(entry.erased());
        }
        *stamp = now;
        true
    }

    /// Whether an event of these topics may have been erased since the stamp.
    pub(crate) fn may_have_erased(&self, topics: TopicBits, stamp: ErasureStamp) -> bool {
        if stamp == self.stamp() || topics == TopicBits::default() {
            return false;
        }
        let recent = self.lock();
        let first = self.first_since(stamp, &recent);
        first.is_none_or(|first| recent.range(first..).any(|(bits, _)| topics.meet(*bits)))
    }
}

/// The topics of some events: a bit for each, which several topics may share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TopicBits(u32);

impl TopicBits {
    pub(crate) fn of(publication: &Publication) -> Self {
        let bit = |topic| {
            let mut hasher = DefaultHasher::new();
            Hash::hash(topic, &mut hasher);
            1 << (hasher.finish() % 32)
        };
        Self(publication.topics().map(bit).fold(0, |bits, bit: u32| bits | bit))
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    fn meet(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use carafe_log::Erase;
    use carafe_protocol::{Generation, Offset, Position, Topic};

    use super::*;

    fn entry(offset: Offset, publication: Publication) -> Arc<Entry> {
        let position = Position { generation: Generation::new(7), offset, nonce: 1 };
        Arc::new(Entry { position, time: UNIX_EPOCH, publication })
    }

    fn topic(name: &str) -> Topic {
        Topic::new(name).unwrap()
    }

    fn erasure(offset: Offset) -> Arc<Entry> {
        entry(offset, Publication::erase(topic("a"), Erase::Before))
    }

    #[test]
    fn only_what_was_read_before_an_erasure_is_covered_by_it() {
        let (erasures, event) =
            (RecentErasures::default(), entry(1, Publication::new(topic("a"), "data")));
        let before = erasures.stamp();
        erasures.add(&[Arc::clone(&event), erasure(2)]);
        assert!(erasures.since(before).unwrap().covers(&event));
        assert!(!erasures.since(erasures.stamp()).unwrap().covers(&event));
        let bits = |name: &str| TopicBits::of(&Publication::new(topic(name), ""));
        assert!(erasures.may_have_erased(bits("a"), before));
        assert!(!erasures.may_have_erased(bits("a"), erasures.stamp()));
        let other = (0..).map(|n| bits(&format!("other-{n}"))).find(|it| *it != bits("a"));
        assert!(!erasures.may_have_erased(other.unwrap(), before));
    }

    #[test]
    fn what_was_read_before_too_many_erasures_has_to_be_read_again() {
        let erasures = RecentErasures::default();
        let before = erasures.stamp();
        (0..REMEMBERED as Offset).for_each(|offset| erasures.add(&[erasure(offset + 1)]));
        assert!(erasures.since(before).is_some());
        erasures.add(&[erasure(REMEMBERED as Offset + 1)]);
        assert!(erasures.since(before).is_none());
    }
}
