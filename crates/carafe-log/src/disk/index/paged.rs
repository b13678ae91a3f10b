//! An array that only grows. One thread fills it while others read it without a lock.

use std::sync::OnceLock;

use crate::disk::pace::Pace;

/// The number of slots in a page. A page is small, so that allocating one causes no pause.
const PAGE: usize = 512;

/// Group `n` has `2^n` pages. Together, the groups have enough slots for a segment of 4 GiB.
const GROUPS: usize = 25;

type Page<T> = OnceLock<Box<[T]>>;

/// An array of atomics, or of other types that change through a shared reference. A slot is made at
/// its first use and never moves. So readers need no lock, and the writing thread never waits.
pub(crate) struct Paged<T> {
    groups: [OnceLock<Box<[Page<T>]>>; GROUPS],
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Self { groups: [const { OnceLock::new() }; GROUPS] }
    }
}

impl<T: Default> Paged<T> {
    /// A slot. `None` if its page was never used.
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        let (group, page) = place(at);
        let page = self.groups[group].get()?[page].get()?;
        Some(&page[at % PAGE])
    }

    /// A slot, which is made if necessary.
    pub(crate) fn slot(&self, at: usize) -> &T {
        let (group, page) = place(at);
        let pages =
            self.groups[group].get_or_init(|| (0..1_usize << group).map(|_| Page::new()).collect());
        &pages[page].get_or_init(|| (0..PAGE).map(|_| T::default()).collect())[at % PAGE]
    }
}

impl<T> Paged<T> {
    pub(crate) fn drop_in_steps(self, pace: &Pace<'_>) {
        let pages = self.groups.into_iter().filter_map(OnceLock::into_inner).flatten();
        for page in pages.filter_map(OnceLock::into_inner) {
            drop(page);
            pace.pause();
        }
    }
}

/// The group of the page of a slot, and the index of the page in the group.
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
