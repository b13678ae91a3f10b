//! A cache of selections: the next block of a replay needs what the one before has found out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use carafe_protocol::Offset;

use crate::disk::format::index::Ordinal;
use crate::disk::index::active::TopicId;
use crate::disk::read::selection::{Memo, Resolution, Selection};
use crate::wanted::{SetId, SetKeys};

/// A cache of selections, with a limit in bytes.
///
/// Recently used results are never evicted for others. Without memory, a read works without a
/// selection: it tests entries one by one. So the cost of a replay is bounded by the entries that
/// it passes, whatever else is read.
pub(crate) struct Selections {
    pub(crate) keys: SetKeys,
    held: Mutex<Held>,
    room: usize,
}

#[derive(Default)]
struct Held {
    found: HashMap<(Offset, SetId), Cached>,
    bytes: usize,
    /// The last time when idle results were evicted.
    swept: Option<Instant>,
}

struct Cached {
    what: CachedResult,
    used: Instant,
    bytes: usize,
}

#[derive(Clone)]
enum CachedResult {
    Memo(Arc<Memo>),
    Resolution(Arc<Resolution>),
}

/// Results that were not used for this time can be evicted.
const IDLE: Duration = Duration::from_secs(30);

/// The minimum time between two searches for idle results.
const SWEEP: Duration = Duration::from_secs(1);

/// The approximate overhead of one cached result in bytes.
const OVERHEAD: usize = 256;

impl Selections {
    pub(crate) fn new(room: usize) -> Self {
        Self { keys: SetKeys::default(), held: Mutex::default(), room }
    }

    /// The memo for a segment whose index is in memory and has this many topics. `None` if there is
    /// no memory for it.
    pub(crate) fn memo(&self, segment: Offset, set: SetId, topics: TopicId) -> Option<Arc<Memo>> {
        let known = |what: &CachedResult| match what {
            CachedResult::Memo(memo) => Some(Arc::clone(memo)),
            CachedResult::Resolution(_) => None,
        };
        self.get((segment, set), Memo::weight(topics), known, || CachedResult::Memo(Arc::default()))
    }

    /// The selection for a sealed segment with this many entries. `None` if there is no memory for
    /// it.
    pub(crate) fn resolution(
        &self,
        segment: Offset,
        set: SetId,
        entries: Ordinal,
    ) -> Option<Arc<Resolution>> {
        let known = |what: &CachedResult| match what {
            CachedResult::Resolution(resolution) => Some(Arc::clone(resolution)),
            CachedResult::Memo(_) => None,
        };
        self.get((segment, set), entries as usize / 8, known, || {
            CachedResult::Resolution(Arc::default())
        })
    }

    /// Records the size of a finished selection.
    pub(crate) fn settle(&self, segment: Offset, set: SetId, selection: &Selection) {
        self.held().resize((segment, set), selection.weight());
    }

    /// Leaves no memory for further results.
    #[cfg(test)]
    pub(crate) fn fill_up(&self) {
        let mut held = self.held();
        held.bytes += self.room;
        held.swept = Some(Instant::now() + 10 * IDLE);
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get<T>(
        &self,
        key: (Offset, SetId),
        bytes: usize,
        known: impl Fn(&CachedResult) -> Option<Arc<T>>,
        begin: impl FnOnce() -> CachedResult,
    ) -> Option<Arc<T>> {
        let (mut held, now) = (self.held(), Instant::now());
        if let Some(found) = held.found.get_mut(&key)
            && let Some(known) = known(&found.what)
        {
            found.used = now;
            // A memo grows with the number of topics. The size of a selection is recorded by
            // `settle`.
            if matches!(found.what, CachedResult::Memo(_)) && bytes + OVERHEAD > found.bytes {
                held.resize(key, bytes);
            }
            return Some(known);
        }
        held.remove(&key);
        held.make_room(self.room.checked_sub(bytes + OVERHEAD)?, now)?;
        let what = begin();
        let made = known(&what);
        held.bytes += bytes + OVERHEAD;
        held.found.insert(key, Cached { what, used: now, bytes: bytes + OVERHEAD });
        made
    }
}

impl Held {
    fn remove(&mut self, key: &(Offset, SetId)) {
        self.bytes -= self.found.remove(key).map_or(0, |found| found.bytes);
    }

    fn resize(&mut self, key: (Offset, SetId), bytes: usize) {
        if let Some(found) = self.found.get_mut(&key) {
            self.bytes = self.bytes - found.bytes + bytes + OVERHEAD;
            found.bytes = bytes + OVERHEAD;
        }
    }

    /// Evicts idle results until at most `most` bytes are used. `None` if that is not enough.
    fn make_room(&mut self, most: usize, now: Instant) -> Option<()> {
        if self.bytes <= most {
            return Some(());
        }
        if self.swept.is_some_and(|swept| now.duration_since(swept) < SWEEP) {
            return None;
        }
        self.swept = Some(now);
        self.found.retain(|_, found| now.duration_since(found.used) < IDLE);
        self.bytes = self.found.values().map(|found| found.bytes).sum();
        (self.bytes <= most).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_is_not_given_up_for_another() {
        let selections = Selections::new(2 * (OVERHEAD + 100));
        let memo = |segment| selections.memo(segment, (0, 0), 400).is_some();
        assert!(memo(1) && memo(2) && memo(1));
        assert!(!memo(3), "there is no room");
        assert!(memo(1) && memo(2));
        let mut held = selections.held();
        held.found.values_mut().for_each(|found| found.used -= IDLE);
        held.swept = None;
        drop(held);
        assert!(memo(3), "what is idle makes room");
        assert!(!selections.held().found.contains_key(&(1, (0, 0))));
    }
}
