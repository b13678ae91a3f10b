//! Erasures that have come since events were read from the log or encoded.
//!
//! The log returns no erased event. But the hub may still hold what it read before an erasure:
//! blocks that are being replayed, and bytes that wait for a client. What it holds has a stamp, the
//! number of erasures by then, so that one comparison tells that nothing has changed.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use carafe_log::{Entry, Erasures, Kind, Publication};

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
    recent: Mutex<VecDeque<Arc<Entry>>>,
}

impl RecentErasures {
    /// Adds the erasures among entries. Completes before the log answers to who has erased.
    pub(crate) fn add(&self, entries: &[Arc<Entry>]) {
        let is_erasure = |entry: &&Arc<Entry>| matches!(entry.publication.kind(), Kind::Erase(_));
        let mut erasures = entries.iter().filter(is_erasure).peekable();
        if erasures.peek().is_none() {
            return;
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        for erasure in erasures {
            if recent.len() == REMEMBERED {
                recent.pop_front();
            }
            recent.push_back(Arc::clone(erasure));
            // Released after the erasure is in the list: who sees the number finds it there.
            self.number.fetch_add(1, Ordering::Release);
        }
    }

    /// The stamp of what is read or encoded from now on.
    pub(crate) fn stamp(&self) -> ErasureStamp {
        ErasureStamp(self.number.load(Ordering::Acquire))
    }

    /// The erasures since a stamp, the oldest first; `None` if they are not all remembered.
    fn entries_since(&self, stamp: ErasureStamp) -> Option<Vec<Arc<Entry>>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let count = self.stamp().0.wrapping_sub(stamp.0) as usize;
        let first = recent.len().checked_sub(count)?;
        Some(recent.range(first..).cloned().collect())
    }

    /// The erasures since a stamp; `None` if they are not all remembered.
    pub(crate) fn since(&self, stamp: ErasureStamp) -> Option<Erasures> {
        let mut erasures = Erasures::default();
        for entry in self.entries_since(stamp)? {
            erasures.add(&entry);
        }
        Some(erasures)
    }

    /// Whether an event of these topics may have been erased since the stamp.
    pub(crate) fn may_have_erased(&self, topics: TopicBits, stamp: ErasureStamp) -> bool {
        if stamp == self.stamp() || topics == TopicBits::default() {
            return false;
        }
        let erases = |entry: &Arc<Entry>| topics.meet(TopicBits::of(&entry.publication));
        self.entries_since(stamp).is_none_or(|entries| entries.iter().any(erases))
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
