//! Storage that only grows: one thread fills it while others read it, without a lock.

use std::sync::OnceLock;

/// Slots in a page. A page is small, so that to make one is no pause.
const PAGE: usize = 512;

/// Group `n` has `2^n` pages: together room for more than a segment of 4 GiB needs.
const GROUPS: usize = 25;

type Page<T> = OnceLock<Box<[T]>>;

/// An array of atomics, or of what else changes through a shared reference. Slots are made when
/// they are first used and never move, so a reader needs no lock and the one that fills the slots
/// never waits.
pub(crate) struct Paged<T> {
    groups: [OnceLock<Box<[Page<T>]>>; GROUPS],
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Self { groups: [const { OnceLock::new() }; GROUPS] }
    }
}

impl<T: Default> Paged<T> {
    /// The slot of this number; `None` if nothing near it was ever used.
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        let (group, page) = place(at);
        let page = self.groups[group].get()?[page].get()?;
        Some(&page[at % PAGE])
    }

    /// The slot of this number, which is made if it is not there.
    pub(crate) fn slot(&self, at: usize) -> &T {
        let (group, page) = place(at);
        let pages =
            self.groups[group].get_or_init(|| (0..1_usize << group).map(|_| Page::new()).collect());
        &pages[page].get_or_init(|| (0..PAGE).map(|_| T::default()).collect())[at % PAGE]
    }
}

/// The group of a slot's page, and the page's place within it.
fn place(at: usize) -> (usize, usize) {
    let page = at / PAGE + 1;
    let group = page.ilog2() as usize;
    (group, page - (1 << group))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn each_slot_is_its_own_and_what_was_never_used_is_not_there() {
        let paged = Paged::<AtomicUsize>::default();
        let places: Vec<_> = (0..5 * PAGE).chain([40 * PAGE, 1_000_000, 3_000_000_000]).collect();
        assert!(places.iter().all(|at| paged.get(*at).is_none()));
        for at in &places {
            paged.slot(*at).store(*at, Ordering::Relaxed);
        }
        assert!(places.iter().all(|at| paged.get(*at).unwrap().load(Ordering::Relaxed) == *at));
        assert!(paged.get(100 * PAGE).is_none());
    }
}
