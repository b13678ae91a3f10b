//! Posting lists: for each hash of a topic, a key or an ID, its entries in order.
//!
//! One thread adds entries while others read without a lock. Nothing ever moves: a full hash table
//! stays, and a table of twice its size takes new lists. So no addition pauses for longer than it
//! takes to allocate a page.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::disk::format::index::Ordinal;
use crate::disk::index::paged::Paged;
use crate::disk::pace::Pace;

/// The number of slots of the first table. A lookup of an unknown hash reads all tables, so a small
/// first table would add several. Its pages are allocated only when they are used.
const FIRST: usize = 16 << 10;

/// The number of entries of the first block of a list. Each further block has twice as many.
const BLOCK: u32 = 4;

/// The number of a list, from 0, in the order of creation.
pub(crate) type ListId = u32;

/// Lists of entries by hash.
///
/// Readers depend on four `Release` stores, which they load with `Acquire`: `tables` publishes a
/// new table, the slot of a table publishes the head of a new list, `count` publishes the number of
/// lists, and the count of a head publishes its entries. What these cover is read with `Relaxed`.
#[derive(Default)]
pub(crate) struct Postings {
    /// The tables, one after the other. A slot has the upper half of a hash, and the number of its
    /// list plus one. 0 is an empty slot.
    slots: Paged<AtomicU64>,
    tables: AtomicUsize,
    lists: Paged<Head>,
    count: AtomicU32,
    /// Blocks of ordinals. Each begins with a link to the next one.
    blocks: Paged<AtomicU32>,
    // Used by the adding thread alone, so it is never contended.
    filled: Mutex<Filled>,
}

/// The head of a list. It contains the first entry, since most topics and keys have no other.
#[derive(Default)]
struct Head {
    hash: AtomicU64,
    first: AtomicU32,
    count: AtomicU32,
    /// The places of the first and the last block.
    blocks: AtomicU32,
    last: AtomicU32,
}

#[derive(Default)]
struct Filled {
    /// The number of used slots in the newest table.
    newest: usize,
    /// The place of the next block.
    blocks: u32,
}

impl Postings {
    /// Adds an entry to the list of a hash for which `is_it` returns `true`, or to a new list.
    /// `begin` is called with the number of a new list before readers can find it.
    pub(crate) fn push(
        &self,
        hash: u64,
        ordinal: Ordinal,
        is_it: impl Fn(ListId) -> bool,
        begin: impl FnOnce(ListId),
    ) -> ListId {
        let mut filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner);
        let list = self.find(hash, is_it).unwrap_or_else(|| {
            let list = self.lists();
            begin(list);
            self.begin(&mut filled, hash);
            list
        });
        self.extend(&mut filled, self.lists.slot(list as usize), ordinal);
        list
    }

    pub(crate) fn drop_in_steps(self, pace: &Pace<'_>) {
        self.slots.drop_in_steps(pace);
        self.lists.drop_in_steps(pace);
        self.blocks.drop_in_steps(pace);
    }

    /// The list of a hash for which `is_it` returns `true`.
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(ListId) -> bool) -> Option<ListId> {
        // The newest table is the largest and has most lists.
        (0..self.tables.load(Ordering::Acquire))
            .rev()
            .find_map(|table| self.find_in(table, hash, &is_it))
    }

    fn find_in(&self, table: usize, hash: u64, is_it: &impl Fn(ListId) -> bool) -> Option<ListId> {
        let (start, mask) = (start(table), size(table) - 1);
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots.get(start + at).map_or(0, |slot| slot.load(Ordering::Acquire));
            let list = (slot as ListId).checked_sub(1)?;
            if slot >> 32 == hash >> 32 && self.hash(list) == hash && is_it(list) {
                return Some(list);
            }
            at = (at + 1) & mask;
        }
    }

    /// The hash of a list.
    pub(crate) fn hash(&self, list: ListId) -> u64 {
        self.lists.get(list as usize).map_or(0, |head| head.hash.load(Ordering::Relaxed))
    }

    fn begin(&self, filled: &mut Filled, hash: u64) {
        let tables = self.tables.load(Ordering::Relaxed);
        // A table is full when half of it is used: with more, runs of used slots become long, and
        // each lookup of an unknown hash reads one run in every table.
        if tables == 0 || filled.newest * 2 >= size(tables - 1) {
            self.tables.store(tables + 1, Ordering::Release);
            filled.newest = 0;
        }
        let table = self.tables.load(Ordering::Relaxed) - 1;
        let list = self.lists();
        self.lists.slot(list as usize).hash.store(hash, Ordering::Relaxed);
        filled.newest += 1;
        let (start, mask) = (start(table), size(table) - 1);
        let mut at = hash as usize & mask;
        while self.slots.slot(start + at).load(Ordering::Relaxed) != 0 {
            at = (at + 1) & mask;
        }
        // Readers can find the list from here on. The store releases its hash and what `begin` has
        // set.
        let slot = (hash >> 32) << 32 | u64::from(list + 1);
        self.slots.slot(start + at).store(slot, Ordering::Release);
        self.count.store(list + 1, Ordering::Release);
    }

    fn extend(&self, filled: &mut Filled, head: &Head, ordinal: Ordinal) {
        let count = head.count.load(Ordering::Relaxed);
        match count.checked_sub(1) {
            None => head.first.store(ordinal, Ordering::Relaxed),
            Some(further) => {
                let (block, within) = within(further);
                if within == 0 {
                    self.begin_block(filled, head, block);
                }
                let at = head.last.load(Ordering::Relaxed) + 1 + within;
                self.blocks.slot(at as usize).store(ordinal, Ordering::Relaxed);
            }
        }
        // Publishes the entry: readers that see this count see the entries that it covers.
        head.count.store(count + 1, Ordering::Release);
    }

    fn begin_block(&self, filled: &mut Filled, head: &Head, block: u32) {
        let link = if block == 0 {
            &head.blocks
        } else {
            self.blocks.slot(head.last.load(Ordering::Relaxed) as usize)
        };
        link.store(filled.blocks, Ordering::Relaxed);
        head.last.store(filled.blocks, Ordering::Relaxed);
        filled.blocks += 1 + (BLOCK << block);
    }

    /// The number of lists.
    pub(crate) fn lists(&self) -> ListId {
        self.count.load(Ordering::Acquire)
    }

    /// The entries of a list before `end`.
    pub(crate) fn list(&self, list: ListId, end: Ordinal) -> List<'_> {
        let mut list = List::of(self, self.lists.get(list as usize));
        list.count = list.partition_point(end);
        list
    }

    /// The entries before `end` of a hash for which `is_it` returns `true`.
    pub(crate) fn list_of(
        &self,
        hash: u64,
        end: Ordinal,
        is_it: impl Fn(ListId) -> bool,
    ) -> List<'_> {
        self.find(hash, is_it).map_or_else(|| List::of(self, None), |list| self.list(list, end))
    }

    /// Each pair of a hash and an entry before `end`. Only for use when no entries are added any
    /// more.
    pub(crate) fn all(&self, end: Ordinal) -> impl Iterator<Item = (u64, Ordinal)> {
        (0..self.lists()).flat_map(move |list| {
            let hash = self.hash(list);
            self.list(list, end).into_iter().map(move |ordinal| (hash, ordinal))
        })
    }
}

fn start(table: usize) -> usize {
    FIRST * ((1 << table) - 1)
}

fn size(table: usize) -> usize {
    FIRST << table
}

/// The block of an entry and its index there, by its number among the entries after the first.
fn within(further: u32) -> (u32, u32) {
    let block = (further / BLOCK + 1).ilog2();
    (block, further - BLOCK * ((1 << block) - 1))
}

/// The entries of a list at the moment of the lookup, in order.
#[derive(Clone, Copy)]
pub(crate) struct List<'a> {
    postings: &'a Postings,
    first: Ordinal,
    count: u32,
    blocks: [u32; 30],
}

impl<'a> List<'a> {
    fn of(postings: &'a Postings, head: Option<&Head>) -> Self {
        let mut list = Self { postings, first: 0, count: 0, blocks: [0; 30] };
        let Some(head) = head else { return list };
        list.count = head.count.load(Ordering::Acquire);
        list.first = head.first.load(Ordering::Relaxed);
        let Some(last) = list.count.checked_sub(2) else { return list };
        let mut link = head.blocks.load(Ordering::Relaxed);
        for block in 0..=within(last).0 as usize {
            list.blocks[block] = link;
            link = list.word(link);
        }
        list
    }

    fn word(&self, at: u32) -> u32 {
        self.postings.blocks.get(at as usize).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    pub(crate) fn len(&self) -> u32 {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn last(&self) -> Option<Ordinal> {
        self.count.checked_sub(1).map(|last| self.get(last))
    }

    pub(crate) fn get(&self, at: u32) -> Ordinal {
        let Some(further) = at.checked_sub(1) else { return self.first };
        let (block, within) = within(further);
        self.word(self.blocks[block as usize] + 1 + within)
    }

    /// The number of entries before `end`.
    pub(crate) fn partition_point(&self, end: Ordinal) -> u32 {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle) < end { low = middle + 1 } else { high = middle }
        }
        low
    }
}

impl<'a> IntoIterator for List<'a> {
    type Item = Ordinal;
    type IntoIter = Entries<'a>;

    fn into_iter(self) -> Entries<'a> {
        Entries { list: self, next: 0 }
    }
}

/// An iterator over the entries of a list, from both ends.
pub(crate) struct Entries<'a> {
    list: List<'a>,
    next: u32,
}

impl Iterator for Entries<'_> {
    type Item = Ordinal;

    fn next(&mut self) -> Option<Ordinal> {
        (self.next < self.list.count).then(|| {
            self.next += 1;
            self.list.get(self.next - 1)
        })
    }
}

impl DoubleEndedIterator for Entries<'_> {
    fn next_back(&mut self) -> Option<Ordinal> {
        (self.next < self.list.count).then(|| {
            self.list.count -= 1;
            self.list.get(self.list.count)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::thread;

    use super::*;

    fn push(postings: &Postings, hash: u64, ordinal: Ordinal) {
        postings.push(hash, ordinal, |_| true, |_| {});
    }

    fn entries(postings: &Postings, hash: u64, end: Ordinal) -> Vec<Ordinal> {
        postings.list_of(hash, end, |_| true).into_iter().collect()
    }

    /// Few hashes, so that lists become long, that share their low bits, so that they meet in the
    /// tables.
    fn hash(number: u32) -> u64 {
        u64::from(number % 700) << 36 | u64::from(number % 7)
    }

    #[test]
    fn each_hash_has_its_entries_in_order() {
        let (postings, mut model) = (Postings::default(), BTreeMap::<_, Vec<_>>::new());
        for ordinal in 0..20_000_u32 {
            let hash = hash(if ordinal % 3 == 0 { 1 } else { ordinal });
            push(&postings, hash, ordinal);
            model.entry(hash).or_default().push(ordinal);
        }
        for (hash, expected) in &model {
            assert_eq!(entries(&postings, *hash, 20_000), *expected);
            let list = postings.list_of(*hash, 9000, |_| true);
            assert_eq!(list.len() as usize, expected.partition_point(|at| *at < 9000));
            let back: Vec<_> = list.into_iter().rev().collect();
            assert!(back.iter().rev().eq(&expected[..back.len()]));
        }
        assert!(entries(&postings, hash(1) ^ 1 << 63, 20_000).is_empty());
        let mut all: Vec<_> = postings.all(20_000).map(|(_, ordinal)| ordinal).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..20_000));
    }

    #[test]
    fn lists_of_one_hash_are_distinguished_by_the_reader() {
        let postings = Postings::default();
        let one = postings.push(5, 0, |list| list == 0, |_| {});
        let other = postings.push(5, 1, |list| list == 1, |_| {});
        assert_eq!((one, other), (0, 1));
        assert_eq!(postings.list_of(5, 9, |list| list == 1).into_iter().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn readers_see_whole_lists_while_one_thread_adds() {
        let postings = Postings::default();
        let added = AtomicU32::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for ordinal in 0..100_000_u32 {
                    push(&postings, hash(ordinal), ordinal);
                    added.store(ordinal + 1, Ordering::Release);
                }
            });
            while added.load(Ordering::Relaxed) < 100_000 {
                let end = added.load(Ordering::Acquire);
                for number in (0..700).step_by(97) {
                    let expected: Vec<_> =
                        (0..end).filter(|at| hash(*at) == hash(number)).collect();
                    assert_eq!(entries(&postings, hash(number), end), expected);
                }
            }
        });
    }
}
