//! The state that the writer shares with the readers.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use carafe_protocol::{Offset, Position};

use crate::disk::format::commit::CommitEnd;
use crate::disk::format::index::Summary;
use crate::disk::index::active::ActiveIndex;
use crate::disk::options::DiskOptions;
use crate::disk::read::part::SegmentReader;
use crate::disk::read::selection::Selections;
use crate::disk::segment::file::Segment;
use crate::disk::segment::holes::Holes;
use crate::disk::segment::sealed::Sealed;
use crate::disk::storage::Storage;
use crate::disk::view::{Place, View};
use crate::lifecycle::{Lifecycle, changes_life};
use crate::wanted::Budget;
use crate::{Clock, DiskUsage, Entry, Follower, ReadError};

/// The maximum number of bytes of selections that are held in memory.
const SELECTIONS: usize = 32 << 20;

/// The state that the writer shares with the readers. Readers load the newest [`View`] and take no
/// lock.
pub(crate) struct DiskShared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Clock,
    /// Whether another node may still supply entries beyond the tail.
    pub(crate) supplied: bool,
    /// How long the log remembers idempotency keys.
    pub(crate) key_window: Duration,
    // Changed by the writer; other threads lock it only to register a follower. Never held while a
    // file is read or written.
    state: Mutex<State>,
    view: ArcSwap<View>,
    // Changed by the writer, before a view shows the entry that changes it. A leaf in the lock
    // order.
    lifecycle: RwLock<Lifecycle>,
    pub(crate) selections: Selections,
    /// The number of pattern tests so far. `Relaxed`: a statistic.
    tests: AtomicU64,
    pub(crate) holes: Holes,
}

pub(crate) struct State {
    /// The sealed segments, the oldest first. Views share the list, and a change copies it, which
    /// is rare.
    pub(crate) sealed: Arc<VecDeque<Arc<Sealed>>>,
    pub(crate) active: Active,
    pub(crate) tail: Position,
    pub(crate) followers: Vec<Follower>,
}

/// A log that was opened.
pub(crate) struct Opened {
    pub(crate) state: State,
    /// The size up to which space is allocated for the active segment.
    pub(crate) room_to: u32,
    pub(crate) lifecycle: Lifecycle,
}

/// The segment that is being written.
pub(crate) struct Active {
    pub(crate) segment: Segment,
    pub(crate) index: Arc<ActiveIndex>,
    pub(crate) first: Option<Position>,
    pub(crate) end: CommitEnd,
    /// The time of its newest entry, in milliseconds since 1970.
    pub(crate) newest: u64,
}

/// A read-only guard of the state. Only [`DiskShared::change`] and [`DiskShared::take_in`] change
/// it, because they also publish a new view.
pub(crate) struct Locked<'a>(MutexGuard<'a, State>);

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl State {
    /// The index and the summary of the active segment.
    pub(crate) fn active_summary(&self) -> (Arc<ActiveIndex>, Summary) {
        let Active { index, first, newest, .. } = &self.active;
        let summary = Summary {
            first: first.unwrap_or(self.tail),
            last: self.tail,
            entries: index.entries(),
            newest: *newest,
        };
        (Arc::clone(index), summary)
    }

    pub(crate) fn disk_usage(&self) -> DiskUsage {
        let sealed: u64 = self.sealed.iter().map(|sealed| sealed.bytes).sum();
        // Like retention, which counts the index of the active segment before it is written.
        let active = u64::from(self.active.end.at) + self.active.index.file_bytes();
        DiskUsage::new(sealed + active, self.sealed.len() as u64 + 1)
    }

    pub(crate) fn view(&self) -> View {
        let Active { segment, index, first, .. } = &self.active;
        View {
            sealed: Arc::clone(&self.sealed),
            segment: segment.clone(),
            index: Arc::clone(index),
            entries: index.entries(),
            first: *first,
            tail: self.tail,
        }
    }
}

impl DiskShared {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        opened: Opened,
        clock: Clock,
        options: &DiskOptions,
    ) -> Self {
        let Opened { state, lifecycle, .. } = opened;
        let view = ArcSwap::from_pointee(state.view());
        let selections = Selections::new(SELECTIONS);
        let DiskOptions { supplied, key_window, .. } = *options;
        let sealed =
            state.sealed.iter().map(|sealed| (sealed.segment.header, sealed.last_offset()));
        let holes = Holes::of(sealed.chain([(state.active.segment.header, state.tail.offset)]));
        let state = Mutex::new(state);
        Self {
            storage,
            clock,
            supplied,
            key_window,
            state,
            view,
            lifecycle: RwLock::new(lifecycle),
            selections,
            tests: AtomicU64::new(0),
            holes,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> Locked<'_> {
        Locked(self.lock())
    }

    /// Changes the state and publishes a view of the result.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        // The view is swapped under the lock, so views are published in the order of changes.
        let mut state = self.lock();
        let outcome = change(&mut state);
        self.view.store(Arc::new(state.view()));
        outcome
    }

    /// Adds a commit to the state, publishes a view and calls the followers. All three happen under
    /// the lock: a follower that registers later finds the commit in its view, and one that
    /// registered earlier receives it. So each follower gets each entry once.
    pub(crate) fn take_in<T>(
        &self,
        entries: &[Arc<Entry>],
        change: impl FnOnce(&mut State) -> T,
    ) -> T {
        let mut state = self.lock();
        self.apply(entries);
        let outcome = change(&mut state);
        self.view.store(Arc::new(state.view()));
        // A follower runs under this lock, so it must not call the log. The order is this lock,
        // then the hub's.
        state.followers.iter().for_each(|follower| follower(entries));
        outcome
    }

    /// Ends, reopens and stops topics. Before the view and the followers have the entries, so that
    /// nobody reads an entry whose effect is not known.
    fn apply(&self, entries: &[Arc<Entry>]) {
        if entries.iter().any(|entry| changes_life(&entry.publication)) {
            let mut lifecycle = self.lifecycle.write().unwrap_or_else(PoisonError::into_inner);
            entries.iter().for_each(|entry| lifecycle.apply(entry));
        }
    }

    pub(crate) fn lifecycle(&self) -> RwLockReadGuard<'_, Lifecycle> {
        self.lifecycle.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the ends of entries that were trimmed, up to an offset.
    pub(crate) fn forget_life(&self, start: Offset) {
        self.lifecycle.write().unwrap_or_else(PoisonError::into_inner).trim(start);
    }

    /// Counts the pattern tests of a turn.
    pub(crate) fn spent(&self, budget: &Budget) {
        self.tests.fetch_add(budget.tests(), Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn tests(&self) -> u64 {
        self.tests.load(Ordering::Relaxed)
    }

    /// The newest view.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// A reader of a segment of a view.
    pub(crate) fn part(&self, view: &View, place: &Place) -> Result<SegmentReader, ReadError> {
        match place {
            Place::Active => Ok(view.active()),
            Place::Sealed(sealed) => Ok(SegmentReader {
                segment: sealed.segment.clone(),
                last: sealed.summary.last,
                index: sealed.index(&*self.storage)?,
            }),
        }
    }
}

impl Active {
    pub(crate) fn empty(segment: Segment) -> Self {
        let end = CommitEnd::of_empty(&segment.header);
        let index = Arc::new(ActiveIndex::new(&segment.header));
        Self { segment, index, first: None, end, newest: 0 }
    }
}
