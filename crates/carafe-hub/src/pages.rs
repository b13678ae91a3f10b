//! A slab in pages, so that growing neither copies what is there nor leaves the memory it was in
//! behind.

use std::ops::{Index, IndexMut};

use slab::Slab;

/// How many places a page has.
const PAGE: usize = 512;

/// Values by number. A number is given out again when its value has left.
pub(crate) struct Pages<T> {
    pages: Vec<Slab<T>>,
    /// The pages that have room, the next last.
    roomy: Vec<usize>,
    len: usize,
}

impl<T> Pages<T> {
    pub(crate) fn new() -> Self {
        Self { pages: Vec::new(), roomy: Vec::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Above all numbers that are in use.
    pub(crate) fn bound(&self) -> usize {
        self.pages.len() * PAGE
    }

    /// The number that the next value will have.
    pub(crate) fn vacant_key(&self) -> usize {
        let page = self.roomy.last().copied().unwrap_or(self.pages.len());
        page * PAGE + self.pages.get(page).map_or(0, Slab::vacant_key)
    }

    pub(crate) fn insert(&mut self, value: T) -> usize {
        let page = self.roomy.last().copied().unwrap_or_else(|| self.add_page());
        let key = page * PAGE + self.pages[page].insert(value);
        if self.pages[page].len() == PAGE {
            self.roomy.pop();
        }
        self.len += 1;
        key
    }

    pub(crate) fn get(&self, key: usize) -> Option<&T> {
        self.pages.get(key / PAGE)?.get(key % PAGE)
    }

    pub(crate) fn get_mut(&mut self, key: usize) -> Option<&mut T> {
        self.pages.get_mut(key / PAGE)?.get_mut(key % PAGE)
    }

    pub(crate) fn try_remove(&mut self, key: usize) -> Option<T> {
        let page = self.pages.get_mut(key / PAGE)?;
        let was_full = page.len() == PAGE;
        let value = page.try_remove(key % PAGE)?;
        self.len -= 1;
        if was_full {
            self.roomy.push(key / PAGE);
        }
        Some(value)
    }

    /// Takes out what is there.
    ///
    /// # Panics
    /// When there is nothing.
    pub(crate) fn remove(&mut self, key: usize) -> T {
        self.try_remove(key).expect("what is taken out is there")
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.pages.iter_mut().flatten().map(|(_, value)| value)
    }

    fn add_page(&mut self) -> usize {
        let page = self.pages.len();
        // Most have few values.
        self.pages.push(if page == 0 { Slab::new() } else { Slab::with_capacity(PAGE) });
        self.roomy.push(page);
        page
    }
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Index<usize> for Pages<T> {
    type Output = T;

    fn index(&self, key: usize) -> &T {
        &self.pages[key / PAGE][key % PAGE]
    }
}

impl<T> IndexMut<usize> for Pages<T> {
    fn index_mut(&mut self, key: usize) -> &mut T {
        &mut self.pages[key / PAGE][key % PAGE]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    /// Lets values in, or takes one out.
    #[derive(Clone, Debug)]
    enum Step {
        In(usize),
        Out(Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![1 => (1..PAGE).prop_map(Step::In), 8 => any::<Index>().prop_map(Step::Out)]
    }

    proptest! {
        /// As a map does, however values come and go.
        #[test]
        fn each_value_is_found_by_its_number_until_it_leaves(
            steps in prop::collection::vec(step(), 0..200)
        ) {
            let (mut pages, mut model) = (Pages::new(), HashMap::new());
            for step in steps {
                match step {
                    Step::In(count) => for value in 0..count {
                        let next = pages.vacant_key();
                        prop_assert_eq!(pages.insert(value), next);
                        prop_assert_eq!(model.insert(next, value), None, "a number in use is given out");
                    },
                    Step::Out(_) if model.is_empty() => {}
                    Step::Out(at) => {
                        let key = *model.keys().nth(at.index(model.len())).unwrap();
                        prop_assert_eq!(pages.try_remove(key), model.remove(&key));
                        prop_assert_eq!((pages.try_remove(key), pages.get(key)), (None, None));
                    }
                }
                prop_assert_eq!((pages.len(), pages.is_empty()), (model.len(), model.is_empty()));
            }
            prop_assert!(model.iter().all(|(key, value)| pages.get(*key) == Some(value) && *key < pages.bound()));
            prop_assert_eq!(pages.values_mut().count(), model.len());
        }
    }

    #[test]
    fn numbers_are_given_out_again() {
        let mut pages = Pages::new();
        for _ in 0..10 {
            let keys: Vec<_> = (0..PAGE * 3).map(|value| pages.insert(value)).collect();
            keys.into_iter()
                .enumerate()
                .for_each(|(value, key)| assert_eq!(pages.remove(key), value));
        }
        assert_eq!((pages.bound(), pages.roomy.len()), (PAGE * 3, 3));
    }
}
