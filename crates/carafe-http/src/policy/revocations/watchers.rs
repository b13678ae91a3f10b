//! Streams and requests that no shard delivers, as they wait to learn that they were revoked.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use tokio::task::yield_now;

use crate::policy::revocations::names::Names;

/// Watchers that are asked before others get the thread.
const ASKED_AT_ONCE: usize = 512;

/// All that watch, by a number.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<Watching>);

#[derive(Debug, Default)]
struct Watching {
    newest: u64,
    // Ordered, so that a review in slices finds where it was.
    all: BTreeMap<u64, (Names, Arc<Flag>)>,
}

/// What a watcher shares with the reviews.
#[derive(Debug, Default)]
pub(crate) struct Flag {
    revoked: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Watchers {
    /// Adds a watcher, and returns its number.
    pub(crate) fn add(&self, names: Names) -> (u64, Arc<Flag>) {
        let mut watching = self.watching();
        let flag = Arc::<Flag>::default();
        watching.newest += 1;
        let number = watching.newest;
        watching.all.insert(number, (names, Arc::clone(&flag)));
        (number, flag)
    }

    pub(crate) fn remove(&self, number: u64) {
        let removed = self.watching().all.remove(&number);
        // After the lock: dropping a waker may end a task, which removes its own watcher.
        drop(removed);
    }

    /// Asks whether each watcher was revoked, some at a time, and wakes those that were.
    pub(crate) async fn review(&self, is_revoked: impl Fn(&Names) -> bool) {
        let mut after = 0;
        while let Some(last) = self.review_some(after, &is_revoked) {
            after = last;
            yield_now().await;
        }
    }

    /// Asks the watchers after this number. Returns the last that was asked.
    fn review_some(&self, after: u64, is_revoked: impl Fn(&Names) -> bool) -> Option<u64> {
        let watching = self.watching();
        let mut last = None;
        let mut revoked = Vec::new();
        for (number, (names, flag)) in watching.all.range(after + 1..).take(ASKED_AT_ONCE) {
            last = Some(*number);
            if is_revoked(names) {
                revoked.push(Arc::clone(flag));
            }
        }
        drop(watching);
        revoked.iter().for_each(|flag| flag.set());
        last
    }

    fn watching(&self) -> MutexGuard<'_, Watching> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flag {
    /// Marks the watcher as revoked, and wakes it.
    pub(crate) fn set(&self) {
        // Before the waker is taken: a watcher that leaves its waker later sees the mark.
        self.revoked.store(true, Ordering::SeqCst);
        let waker = self.waker().take();
        waker.into_iter().for_each(Waker::wake);
    }

    /// Whether the watcher was revoked. If not, the waker is called when it is.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<()> {
        let mut place = self.waker();
        let replaced = match &*place {
            Some(known) if known.will_wake(waker) => None,
            _ => place.replace(waker.clone()),
        };
        drop(place);
        // After the lock: dropping a waker may end a task.
        drop(replaced);
        // After the waker was left: `set` finds it, or this finds the mark.
        if self.is_set() { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.revoked.load(Ordering::SeqCst)
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_review_asks_all_watchers_and_marks_those_that_were_revoked() {
        let watchers = Watchers::default();
        let (ann, bob) = (Names::of_user("ann", None), Names::of_user("bob", None));
        let all: Vec<_> =
            (0..2000).map(|at| watchers.add(if at % 3 == 0 { ann } else { bob })).collect();
        all.iter().step_by(2).for_each(|(number, _)| watchers.remove(*number));
        watchers.review(|names| *names == ann).await;
        for (at, (number, flag)) in all.iter().enumerate() {
            assert_eq!(flag.is_set(), at % 3 == 0 && at % 2 == 1, "{at}");
            watchers.remove(*number);
        }
        assert!(watchers.watching().all.is_empty());
    }
}
