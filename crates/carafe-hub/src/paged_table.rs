//! A table in pages: values by key, where growing copies no value.
//!
//! The hub keeps subscriptions, feeds and groups in such tables, and a shard its clients. A plain
//! `Vec` of a million values copies all of them when it grows, and leaves a hole of that size in
//! the heap.

use std::iter;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// Slots of a page.
const PAGE: usize = 512;

/// Bits of a word of a bitmap.
const WORD: usize = u64::BITS as usize;

/// A key of a table: a number, in a type of its own.
pub trait TableKey: Copy {
    /// The key with this number; `None` if the number is too large for the key's type.
    fn try_from_index(index: usize) -> Option<Self>;

    /// The key with this number, of which memory allows no more than the type does.
    ///
    /// # Panics
    /// When the number is too large for the key's type.
    #[must_use]
    fn from_index(index: usize) -> Self {
        Self::try_from_index(index).expect("fewer than 2^31 values fit in memory")
    }

    /// The number of this key.
    fn index(self) -> usize;
}

/// Values by key. [`insert`](Self::insert) chooses the lowest free key, so a key is reused after
/// its value was removed.
pub struct PagedTable<K, V> {
    pages: Vec<Page<V>>,
    /// The pages with a free slot.
    roomy: Bitmap,
    len: usize,
    key: PhantomData<fn(K) -> K>,
}

struct Page<V> {
    /// Grows up to [`PAGE`] slots.
    slots: Vec<Option<V>>,
    used: [u64; PAGE / WORD],
    len: usize,
}

/// A set of numbers, of which the lowest is found by looking at 64 at a time.
#[derive(Default)]
struct Bitmap(Vec<u64>);

impl<K: TableKey, V> PagedTable<K, V> {
    /// An empty table. It allocates with the first value.
    #[must_use]
    pub fn new() -> Self {
        Self { pages: Vec::new(), roomy: Bitmap::default(), len: 0, key: PhantomData }
    }

    /// How many values the table has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the table has no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A number above that of every key in use.
    #[must_use]
    pub fn bound(&self) -> usize {
        self.pages.len() * PAGE
    }

    /// The key that the next inserted value gets.
    #[must_use]
    pub fn vacant_key(&self) -> K {
        let page = self.roomy.first().unwrap_or(self.pages.len());
        K::from_index(page * PAGE + self.pages.get(page).map_or(0, Page::first_free))
    }

    /// Inserts a value at the lowest free key.
    pub fn insert(&mut self, value: V) -> K {
        let key = self.vacant_key();
        self.insert_at(key, value);
        key
    }

    /// Inserts a value at a key that another table gave out. Returns the value it replaces.
    pub fn insert_at(&mut self, key: K, value: V) -> Option<V> {
        let (page, slot) = place(key);
        while self.pages.len() <= page {
            // Pages before the one of this key are empty, and have room.
            self.roomy.insert(self.pages.len());
            self.pages.push(Page::new(self.pages.is_empty()));
        }
        let replaced = self.pages[page].insert(slot, value);
        self.len += usize::from(replaced.is_none());
        // A full page leaves the bitmap, so the search for a free key never looks at it.
        if self.pages[page].len == PAGE {
            self.roomy.remove(page);
        }
        replaced
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: K) -> Option<&V> {
        let (page, slot) = place(key);
        self.pages.get(page)?.slots.get(slot)?.as_ref()
    }

    /// The value of a key, to change it.
    #[must_use]
    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let (page, slot) = place(key);
        self.pages.get_mut(page)?.slots.get_mut(slot)?.as_mut()
    }

    /// Removes the value of a key, if there is one.
    pub fn try_remove(&mut self, key: K) -> Option<V> {
        let (page, slot) = place(key);
        let value = self.pages.get_mut(page)?.remove(slot)?;
        self.len -= 1;
        self.roomy.insert(page);
        Some(value)
    }

    /// Removes the value of a key.
    ///
    /// # Panics
    /// When there is none.
    pub fn remove(&mut self, key: K) -> V {
        self.try_remove(key).expect("a key that is removed is in use")
    }

    /// Removes all values.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.pages.iter().flat_map(|page| page.slots.iter().flatten())
    }

    /// All values, to change them.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.pages.iter_mut().flat_map(|page| page.slots.iter_mut().flatten())
    }

    /// Removes and returns all values.
    pub fn drain(&mut self) -> impl Iterator<Item = V> {
        std::mem::take(self).pages.into_iter().flat_map(|page| page.slots.into_iter().flatten())
    }
}

impl<V> Page<V> {
    fn new(is_first: bool) -> Self {
        // Most tables have few values. A table with a second page is likely to fill it.
        let slots = if is_first { Vec::new() } else { Vec::with_capacity(PAGE) };
        Self { slots, used: [0; PAGE / WORD], len: 0 }
    }

    fn first_free(&self) -> usize {
        // The caller has found the page in the bitmap of pages with room, so there is a free bit.
        let word = self.used.iter().position(|word| *word != u64::MAX).unwrap_or(0);
        word * WORD + self.used[word].trailing_ones() as usize
    }

    fn insert(&mut self, slot: usize, value: V) -> Option<V> {
        // Slots up to this one exist, as empty ones. The lowest free key comes first, so few are
        // added ahead of their use.
        let lacking = (slot + 1).saturating_sub(self.slots.len());
        self.slots.extend(iter::repeat_with(|| None).take(lacking));
        let replaced = self.slots[slot].replace(value);
        self.used[slot / WORD] |= 1 << (slot % WORD);
        self.len += usize::from(replaced.is_none());
        replaced
    }

    fn remove(&mut self, slot: usize) -> Option<V> {
        let value = self.slots.get_mut(slot)?.take()?;
        self.used[slot / WORD] &= !(1 << (slot % WORD));
        self.len -= 1;
        Some(value)
    }
}

impl Bitmap {
    fn insert(&mut self, number: usize) {
        if self.0.len() <= number / WORD {
            self.0.resize(number / WORD + 1, 0);
        }
        self.0[number / WORD] |= 1 << (number % WORD);
    }

    fn remove(&mut self, number: usize) {
        self.0[number / WORD] &= !(1 << (number % WORD));
    }

    fn first(&self) -> Option<usize> {
        let word = self.0.iter().position(|word| *word != 0)?;
        Some(word * WORD + self.0[word].trailing_zeros() as usize)
    }
}

/// The page of a key, and its slot there.
fn place(key: impl TableKey) -> (usize, usize) {
    (key.index() / PAGE, key.index() % PAGE)
}

impl<K: TableKey, V> Default for PagedTable<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: TableKey, V> Index<K> for PagedTable<K, V> {
    type Output = V;

    fn index(&self, key: K) -> &V {
        self.get(key).expect("the key is in use")
    }
}

impl<K: TableKey, V> IndexMut<K> for PagedTable<K, V> {
    fn index_mut(&mut self, key: K) -> &mut V {
        self.get_mut(key).expect("the key is in use")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    impl TableKey for usize {
        fn try_from_index(index: usize) -> Option<Self> {
            Some(index)
        }

        fn index(self) -> usize {
            self
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(usize),
        InsertAt(usize),
        Remove(Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => (1..PAGE).prop_map(Step::Insert),
            1 => (0..5 * PAGE).prop_map(Step::InsertAt),
            16 => any::<Index>().prop_map(Step::Remove),
        ]
    }

    proptest! {
        #[test]
        fn each_value_is_found_by_its_key_until_it_is_removed(
            steps in prop::collection::vec(step(), 0..200)
        ) {
            let (mut table, mut model) = (PagedTable::<usize, usize>::new(), HashMap::new());
            for step in steps {
                match step {
                    Step::Insert(count) => for value in 0..count {
                        let next = table.vacant_key();
                        prop_assert_eq!(table.insert(value), next);
                        prop_assert_eq!(model.insert(next, value), None, "a key in use is reused");
                    },
                    Step::InsertAt(key) => {
                        prop_assert_eq!(table.insert_at(key, key), model.insert(key, key));
                    }
                    Step::Remove(_) if model.is_empty() => {}
                    Step::Remove(at) => {
                        let key = *model.keys().nth(at.index(model.len())).unwrap();
                        prop_assert_eq!(table.try_remove(key), model.remove(&key));
                        prop_assert_eq!((table.try_remove(key), table.get(key)), (None, None));
                    }
                }
                prop_assert_eq!((table.len(), table.is_empty()), (model.len(), model.is_empty()));
            }
            prop_assert!(model.iter().all(|(key, value)| table.get(*key) == Some(value)));
            prop_assert!(model.keys().all(|key| *key < table.bound()));
            prop_assert_eq!(table.values_mut().count(), model.len());
            prop_assert_eq!(table.drain().count(), model.len());
            prop_assert!(table.is_empty());
        }
    }

    #[test]
    fn keys_are_reused() {
        let mut table = PagedTable::<usize, usize>::new();
        for _ in 0..10 {
            let keys: Vec<_> = (0..PAGE * 3).map(|value| table.insert(value)).collect();
            assert_eq!(table.roomy.first(), None, "all pages are full");
            keys.into_iter()
                .enumerate()
                .for_each(|(value, key)| assert_eq!(table.remove(key), value));
        }
        assert_eq!((table.bound(), table.roomy.0[0].count_ones()), (PAGE * 3, 3));
    }
}
