//! Which entries of a segment a set of matchers selects, found once and held ready for the next
//! block.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use carafe_protocol::{Offset, Topic};

use crate::disk::format::index::Ordinal;
use crate::disk::index::active::TopicId;
use crate::disk::index::file::IndexFile;
use crate::disk::index::paged::Paged;
use crate::wanted::{Budget, SetId, SetKeys, Wanted};

/// The topics that a set of matchers was tested with, and the outcomes. Readers share it without a
/// lock.
#[derive(Default)]
pub(crate) struct Memo {
    tested: Paged<AtomicU64>,
    matched: Paged<AtomicU64>,
}

impl Memo {
    /// The outcome for a topic: remembered, or made and remembered.
    pub(crate) fn get(&self, topic: TopicId, test: impl FnOnce() -> bool) -> bool {
        let (word, bit) = (topic as usize / 64, 1_u64 << (topic % 64));
        let is_set = |bits: &Paged<AtomicU64>| {
            bits.get(word).is_some_and(|word| word.load(Ordering::Acquire) & bit != 0)
        };
        if is_set(&self.tested) {
            return is_set(&self.matched);
        }
        let matched = test();
        if matched {
            self.matched.slot(word).fetch_or(bit, Ordering::Relaxed);
        }
        // Whoever sees that it was tested sees the outcome.
        self.tested.slot(word).fetch_or(bit, Ordering::Release);
        matched
    }

    fn weight(topics: TopicId) -> usize {
        topics as usize / 4
    }
}

/// Entries of a sealed segment, in order.
pub(crate) enum Selection {
    Few(Box<[Ordinal]>),
    /// One bit for each entry of the segment.
    Many(Box<[u64]>),
}

impl Selection {
    fn new(bits: Vec<u64>) -> Self {
        let count: usize = bits.iter().map(|word| word.count_ones() as usize).sum();
        if count >= 2 * bits.len() {
            return Self::Many(bits.into());
        }
        let many = Self::Many(bits.into());
        let mut few = Vec::with_capacity(count);
        let mut next = many.next_from(0);
        while let Some(ordinal) = next {
            few.push(ordinal);
            next = many.next_from(ordinal + 1);
        }
        Self::Few(few.into())
    }

    /// The first entry from `first` on.
    pub(crate) fn next_from(&self, first: Ordinal) -> Option<Ordinal> {
        match self {
            Self::Few(all) => all.get(all.partition_point(|ordinal| *ordinal < first)).copied(),
            Self::Many(bits) => {
                let from = first as usize / 64;
                let rest = bits.get(from)? >> (first % 64) << (first % 64);
                let later = || (from + 1..bits.len()).map(|at| (at, bits[at]));
                let (at, word) =
                    [(from, rest)].into_iter().chain(later()).find(|(_, word)| *word != 0)?;
                Some(at as Ordinal * 64 + word.trailing_zeros())
            }
        }
    }

    /// The last entry before `end`.
    pub(crate) fn last_before(&self, end: Ordinal) -> Option<Ordinal> {
        match self {
            Self::Few(all) => {
                Some(all[all.partition_point(|ordinal| *ordinal < end).checked_sub(1)?])
            }
            Self::Many(bits) => {
                let to = end as usize / 64;
                let rest = bits.get(to).map_or(0, |word| word & ((1 << (end % 64)) - 1));
                let earlier = (0..to.min(bits.len())).rev().map(|at| (at, bits[at]));
                let (at, word) =
                    [(to, rest)].into_iter().chain(earlier).find(|(_, word)| *word != 0)?;
                Some(at as Ordinal * 64 + word.ilog2())
            }
        }
    }

    pub(crate) fn contains(&self, ordinal: Ordinal) -> bool {
        self.next_from(ordinal) == Some(ordinal)
    }

    fn weight(&self) -> usize {
        match self {
            Self::Few(all) => size_of_val(&**all),
            Self::Many(bits) => size_of_val(&**bits),
        }
    }
}

/// A selection that is being made, turn by turn, by whoever needs it.
#[derive(Default)]
pub(crate) struct Resolution(Mutex<Partial>);

#[derive(Default)]
struct Partial {
    /// Topics that were tested.
    topics: usize,
    bits: Vec<u64>,
    made: Option<Arc<Selection>>,
}

/// Topics that are read at once.
const TOPICS: usize = 1024;

/// Entries of topics that are read at once.
const ORDINALS: usize = 64 << 10;

impl Resolution {
    /// Goes on for a turn. `None` if that was not enough.
    pub(crate) fn advance(
        &self,
        file: &IndexFile,
        wanted: &Wanted,
        budget: &mut Budget,
    ) -> io::Result<Option<Arc<Selection>>> {
        let mut progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &progress.made {
            return Ok(Some(Arc::clone(made)));
        }
        progress.bits.resize((file.entries() as usize).div_ceil(64), 0);
        if let Some(topics) = wanted.topics() {
            progress.select_topics(file, topics)?;
        } else if !progress.test_topics(file, wanted, budget)? {
            return Ok(None);
        }
        let made = Arc::new(Selection::new(std::mem::take(&mut progress.bits)));
        progress.made = Some(Arc::clone(&made));
        Ok(Some(made))
    }
}

impl Partial {
    fn select_topics<'a>(
        &mut self,
        file: &IndexFile,
        topics: impl Iterator<Item = &'a Topic>,
    ) -> io::Result<()> {
        for topic in topics {
            self.select(file, file.of_topic(topic)?)?;
        }
        Ok(())
    }

    fn select(&mut self, file: &IndexFile, places: std::ops::Range<usize>) -> io::Result<()> {
        let mut at = places.start;
        while at < places.end {
            let ordinals = file.ordinals(at..places.end.min(at + ORDINALS))?;
            at += ordinals.len();
            ordinals.into_iter().for_each(|ordinal| self.set(ordinal));
        }
        Ok(())
    }

    fn set(&mut self, ordinal: Ordinal) {
        if let Some(word) = self.bits.get_mut(ordinal as usize / 64) {
            *word |= 1 << (ordinal % 64);
        }
    }

    /// Tests topics while the budget lasts, and says whether that was all of them.
    fn test_topics(
        &mut self,
        file: &IndexFile,
        wanted: &Wanted,
        budget: &mut Budget,
    ) -> io::Result<bool> {
        let all = file.counts().topics;
        while self.topics < all && !budget.is_spent() {
            let rows = file.topics(self.topics..all.min(self.topics + TOPICS))?;
            let (Some(first), Some(last)) = (rows.first(), rows.last()) else { break };
            let names = file.names(first.name.start..last.name.end)?;
            let ordinals = first.ordinals.start..last.ordinals.end;
            // Most topics have few entries, which stand one after the other.
            let near = if ordinals.len() <= ORDINALS {
                Some(file.ordinals(ordinals.clone())?)
            } else {
                None
            };
            for row in &rows {
                if budget.is_spent() {
                    return Ok(false);
                }
                budget.examine();
                let name =
                    &names[row.name.start - first.name.start..row.name.end - first.name.start];
                let topic = std::str::from_utf8(name).ok().and_then(|name| Topic::new(name).ok());
                if topic.is_some_and(|topic| wanted.matches(&topic, budget)) {
                    match &near {
                        Some(near) => {
                            let from = row.ordinals.start - ordinals.start;
                            let near = &near[from..from + row.ordinals.len()];
                            near.iter().for_each(|ordinal| self.set(*ordinal));
                        }
                        None => self.select(file, row.ordinals.clone())?,
                    }
                }
                // Only now: after an error, whoever goes on begins with this topic again.
                self.topics += 1;
            }
        }
        Ok(self.topics == all)
    }
}

/// CachedResult was found out of sets of matchers, within a number of bytes.
///
/// CachedResult was used a moment ago is never given up for something else: when there is no room, a read
/// goes without. It then tests entries one by one, and so the cost of a replay is bounded by what
/// it passes over, whatever else is read.
pub(crate) struct Selections {
    pub(crate) keys: SetKeys,
    held: Mutex<Held>,
    room: usize,
}

#[derive(Default)]
struct Held {
    found: HashMap<(Offset, SetId), Cached>,
    bytes: usize,
    /// When what is idle was last looked for.
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

/// CachedResult was not used for so long makes room.
const IDLE: Duration = Duration::from_secs(30);

/// How often what is idle is looked for, at most.
const SWEEP: Duration = Duration::from_secs(1);

/// CachedResult it takes beside what was found.
const OVERHEAD: usize = 256;

impl Selections {
    pub(crate) fn new(room: usize) -> Self {
        Self { keys: SetKeys::default(), held: Mutex::default(), room }
    }

    /// For a segment that is in memory and has so many topics.
    pub(crate) fn memo(&self, segment: Offset, set: SetId, topics: TopicId) -> Option<Arc<Memo>> {
        let known = |what: &CachedResult| match what {
            CachedResult::Memo(memo) => Some(Arc::clone(memo)),
            CachedResult::Resolution(_) => None,
        };
        self.get((segment, set), Memo::weight(topics), known, || CachedResult::Memo(Arc::default()))
    }

    /// For a sealed segment of so many entries.
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

    /// Says what a finished selection takes.
    pub(crate) fn settle(&self, segment: Offset, set: SetId, selection: &Selection) {
        self.held().resize((segment, set), selection.weight());
    }

    /// Leaves no room for anything more.
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
            // A memo grows with the topics, a resolution has been settled.
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

    /// Gives up what is idle, until there are so many bytes at most; `None` if that is not enough.
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

    fn selection(ordinals: &[Ordinal], entries: usize) -> Selection {
        let mut progress = Partial { bits: vec![0; entries.div_ceil(64)], ..Partial::default() };
        ordinals.iter().for_each(|ordinal| progress.set(*ordinal));
        Selection::new(progress.bits)
    }

    #[test]
    fn a_selection_is_walked_from_both_ends() {
        for (ordinals, entries) in [
            (vec![], 1),
            (vec![0], 1),
            (vec![63, 64, 700], 1000),
            ((0..1000).filter(|at| at % 3 == 0).collect(), 1000),
            ((0..128).collect(), 128),
        ] {
            let selection = selection(&ordinals, entries);
            for at in 0..entries as Ordinal + 2 {
                let split = ordinals.partition_point(|ordinal| *ordinal < at);
                assert_eq!(selection.next_from(at), ordinals.get(split).copied(), "{at}");
                assert_eq!(selection.last_before(at), ordinals[..split].last().copied(), "{at}");
                assert_eq!(selection.contains(at), ordinals.contains(&at), "{at}");
            }
        }
    }

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
