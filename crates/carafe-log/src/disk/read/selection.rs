//! Selections: the entries of a segment that a set of matchers selects, and how they are made in
//! turns. Used by the reader threads.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use carafe_protocol::Topic;

use crate::disk::format::index::{Ordinal, parts};
use crate::disk::index::active::TopicId;
use crate::disk::index::file::IndexFile;
use crate::disk::index::paged::Paged;
use crate::wanted::{Budget, Wanted};

/// The results of testing topics with a set of matchers. Readers share it without a lock.
#[derive(Default)]
pub(crate) struct Memo {
    tested: Paged<AtomicU64>,
    matched: Paged<AtomicU64>,
}

impl Memo {
    /// The result for a topic: the cached one, or that of `test`, which is then cached.
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
        // Stored after `matched` and with `Release`: a reader that sees with `Acquire` that the
        // topic was tested also sees the result.
        self.tested.slot(word).fetch_or(bit, Ordering::Release);
        matched
    }

    pub(crate) fn weight(topics: TopicId) -> usize {
        topics as usize / 4
    }
}

/// Selected entries of a sealed segment, in order.
pub(crate) enum Selection {
    Few(Box<[Ordinal]>),
    /// One bit for each entry of the segment.
    Many(Box<[u64]>),
}

impl Selection {
    pub(crate) fn new(bits: Vec<u64>) -> Self {
        let count: usize = bits.iter().map(|word| word.count_ones() as usize).sum();
        // A list has four bytes for each entry, a bitmap eight for each 64: the list is smaller
        // below two per word.
        if count >= 2 * bits.len() {
            return Self::Many(bits.into());
        }
        let mut few = Vec::with_capacity(count);
        few.extend(Self::Many(bits.into()).all());
        Self::Few(few.into())
    }

    /// All selected entries.
    pub(crate) fn all(&self) -> impl Iterator<Item = Ordinal> {
        std::iter::successors(self.next_from(0), |ordinal| self.next_from(ordinal + 1))
    }

    /// The first selected entry from `first` on.
    pub(crate) fn next_from(&self, first: Ordinal) -> Option<Ordinal> {
        match self {
            Self::Few(all) => all.get(all.partition_point(|ordinal| *ordinal < first)).copied(),
            Self::Many(bits) => {
                let from = first as usize / 64;
                // Clears the bits below `first`. The shift is below 64.
                let rest = bits.get(from)? >> (first % 64) << (first % 64);
                let later = || (from + 1..bits.len()).map(|at| (at, bits[at]));
                let (at, word) =
                    [(from, rest)].into_iter().chain(later()).find(|(_, word)| *word != 0)?;
                Some(at as Ordinal * 64 + word.trailing_zeros())
            }
        }
    }

    /// The last selected entry before `end`.
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

    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Few(all) => size_of_val(&**all),
            Self::Many(bits) => size_of_val(&**bits),
        }
    }
}

/// A selection that is being made in turns. Each reader that needs it continues it. The lock is
/// held while a part of the index file is read, so that two readers do not do the same work.
#[derive(Default)]
pub(crate) struct Resolution(Mutex<Progress>);

#[derive(Default)]
struct Progress {
    partial: Partial,
    made: Option<Arc<Selection>>,
}

/// The part of a selection that is made.
#[derive(Default)]
pub(crate) struct Partial {
    /// The number of topics that were tested.
    topics: usize,
    pub(crate) bits: Vec<u64>,
}

/// The number of topics that are read at once.
const TOPICS: usize = 1024;

/// The number of ordinals that are read at once.
const ORDINALS: usize = 64 << 10;

impl Resolution {
    /// Runs one turn. `None` if the selection is not finished.
    pub(crate) fn advance(
        &self,
        file: &IndexFile,
        wanted: &Wanted,
        budget: &mut Budget,
    ) -> io::Result<Option<Arc<Selection>>> {
        // A leaf in the lock order. After a panic, a part was tested once more at worst: bits are
        // only ever set.
        let mut progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &progress.made {
            return Ok(Some(Arc::clone(made)));
        }
        let partial = &mut progress.partial;
        partial.begin(file.entries());
        if let Some(topics) = wanted.topics() {
            for topic in topics {
                partial.select(file, file.of_topic(topic)?, Ordinal::MAX)?;
            }
        } else {
            let all = |topic: &Topic, budget: &mut Budget| {
                Ok(wanted.matches(topic, budget).then_some(Ordinal::MAX))
            };
            if !partial.test_topics(file, budget, all)? {
                return Ok(None);
            }
        }
        let made = Arc::new(Selection::new(std::mem::take(&mut partial.bits)));
        progress.made = Some(Arc::clone(&made));
        Ok(Some(made))
    }
}

impl Partial {
    /// Makes room for so many entries. Leaves what is selected.
    pub(crate) fn begin(&mut self, entries: Ordinal) {
        self.bits.resize((entries as usize).div_ceil(64), 0);
    }

    /// Selects the entries in these places of the table of ordinals that are before `end`.
    pub(crate) fn select(
        &mut self,
        file: &IndexFile,
        places: std::ops::Range<usize>,
        end: Ordinal,
    ) -> io::Result<()> {
        for part in parts(places, ORDINALS) {
            self.set_all(&file.ordinals(part)?, end);
        }
        Ok(())
    }

    fn set_all(&mut self, ordinals: &[Ordinal], end: Ordinal) {
        let before = ordinals.iter().take_while(|ordinal| **ordinal < end);
        before.for_each(|ordinal| self.set(*ordinal));
    }

    pub(crate) fn has(&self, ordinal: Ordinal) -> bool {
        self.bits.get(ordinal as usize / 64).is_some_and(|word| word & 1 << (ordinal % 64) != 0)
    }

    pub(crate) fn set(&mut self, ordinal: Ordinal) {
        if let Some(word) = self.bits.get_mut(ordinal as usize / 64) {
            *word |= 1 << (ordinal % 64);
        }
    }

    /// Tests topics while the budget lasts, and selects the entries of each before the one that
    /// `end_of` returns. Returns whether all topics are tested.
    pub(crate) fn test_topics(
        &mut self,
        file: &IndexFile,
        budget: &mut Budget,
        mut end_of: impl FnMut(&Topic, &mut Budget) -> io::Result<Option<Ordinal>>,
    ) -> io::Result<bool> {
        let all = file.counts().topics;
        while self.topics < all && !budget.is_spent() {
            let rows = file.topics(self.topics..all.min(self.topics + TOPICS))?;
            let (Some(first), Some(last)) = (rows.first(), rows.last()) else { break };
            let names = file.names(first.name.start..last.name.end)?;
            let ordinals = first.ordinals.start..last.ordinals.end;
            // Most topics have few entries, and these are next to each other in the file.
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
                let end = topic.map(|topic| end_of(&topic, budget)).transpose()?.flatten();
                if let Some(end) = end {
                    match &near {
                        Some(near) => {
                            let from = row.ordinals.start - ordinals.start;
                            self.set_all(&near[from..from + row.ordinals.len()], end);
                        }
                        None => self.select(file, row.ordinals.clone(), end)?,
                    }
                }
                // Counted last: after an error, the next turn begins with this topic again.
                self.topics += 1;
            }
        }
        Ok(self.topics == all)
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
}
