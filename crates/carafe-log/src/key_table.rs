//! Which entries have a key.
//!
//! When the window of a key has passed, another entry may have it, and so may an entry after one
//! that was erased. **The newest entry that is not erased has the key**, and its age decides
//! whether the key is known. Nodes that share a log decide alike only if all of them follow this
//! rule: when the newest entry is erased, an older one has the key again, and decides if the times
//! of commits go back into its window.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use carafe_protocol::Offset;

/// The entries that have a key, by their offsets, with something that is known of each.
pub(crate) struct KeyTable<K, T> {
    newest: HashMap<K, (Offset, T)>,
    /// The older entries, of the few keys that several have.
    older: HashMap<K, BTreeMap<Offset, T>>,
}

impl<K, T> Default for KeyTable<K, T> {
    fn default() -> Self {
        Self { newest: HashMap::new(), older: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash, T> KeyTable<K, T> {
    /// Adds an entry, and forgets those with its key that are erased.
    pub(crate) fn add(
        &mut self,
        key: K,
        offset: Offset,
        value: T,
        is_erased: impl Fn(Offset, &T) -> bool,
    ) {
        match self.newest.entry(key) {
            Entry::Vacant(key) => drop(key.insert((offset, value))),
            Entry::Occupied(mut newest) => {
                let is_newer = offset > newest.get().0;
                let (at, other) =
                    if is_newer { newest.insert((offset, value)) } else { (offset, value) };
                let mut older = self.older.remove(newest.key()).unwrap_or_default();
                older.insert(at, other);
                // An entry may be added again.
                older.retain(|at, other| *at != newest.get().0 && !is_erased(*at, other));
                if !older.is_empty() {
                    self.older.insert(newest.key().clone(), older);
                }
            }
        }
    }

    /// The entries with a key, the newest first.
    pub(crate) fn of(&self, key: &K) -> impl Iterator<Item = (Offset, &T)> {
        let newest = self.newest.get(key);
        let older = newest.and_then(|_| self.older.get(key));
        let older = older.into_iter().flat_map(|older| older.iter().rev());
        newest.map(|(at, value)| (*at, value)).into_iter().chain(older.map(|(at, it)| (*at, it)))
    }

    /// Removes an entry, if it has the key.
    pub(crate) fn remove(&mut self, key: &K, offset: Offset) {
        let Some((newest, _)) = self.newest.get(key) else { return };
        let Some(older) = self.older.get_mut(key) else {
            if *newest == offset {
                self.newest.remove(key);
            }
            return;
        };
        if *newest != offset {
            older.remove(&offset);
        } else if let Some(next) = older.pop_last() {
            self.newest.insert(key.clone(), next);
        }
        if older.is_empty() {
            self.older.remove(key);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.newest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(offsets: &[Offset]) -> KeyTable<&'static str, ()> {
        let mut table = KeyTable::default();
        offsets.iter().for_each(|offset| table.add("k", *offset, (), |_, ()| false));
        table
    }

    fn offsets(table: &KeyTable<&'static str, ()>) -> Vec<Offset> {
        table.of(&"k").map(|(offset, ())| offset).collect()
    }

    #[test]
    fn entries_are_found_from_the_newest_on_in_whatever_order_they_were_added() {
        for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1], [3, 1, 2]] {
            let mut table = table(&order);
            table.add("other", 9, (), |_, ()| false);
            assert_eq!(offsets(&table), [3, 2, 1]);
        }
        assert_eq!(offsets(&table(&[1, 3, 3, 2, 2, 1])), [3, 2, 1], "each once");
    }

    #[test]
    fn whichever_entry_is_removed_the_others_stay() {
        for (removed, left) in [(1, [3, 2]), (2, [3, 1]), (3, [2, 1]), (4, [3, 2])] {
            let mut table = table(&[1, 2, 3]);
            table.remove(&"k", removed);
            table.remove(&"other", removed);
            assert_eq!(offsets(&table)[..2], left);
            (1..=3).for_each(|offset| table.remove(&"k", offset));
            assert!(table.is_empty() && table.older.is_empty());
        }
    }

    #[test]
    fn entries_that_are_erased_are_forgotten_when_another_one_has_their_key() {
        let mut table = table(&[1, 2, 3]);
        table.add("k", 4, (), |offset, ()| offset != 2);
        assert_eq!(offsets(&table), [4, 2]);
        table.add("k", 5, (), |_, ()| true);
        assert!(offsets(&table) == [5] && table.older.is_empty());
    }
}
