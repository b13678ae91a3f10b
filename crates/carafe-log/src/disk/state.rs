//! What writer and readers share.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use carafe_protocol::Position;

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
use crate::wanted::Budget;
use crate::{Clock, Entry, Follower, ReadError};

/// Bytes of what was found out about patterns and topics that are held in memory.
const SELECTIONS: usize = 32 << 20;

/// What writer and readers share. Readers take the newest [`View`], and no lock.
pub(crate) struct DiskShared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Clock,
    /// Another node may still deliver what lies beyond the tail.
    pub(crate) supplied: bool,
    /// How long keys are known.
    pub(crate) key_window: Duration,
    // The writer's; others take it only to begin following. Never held while the disk is read or
    // written.
    state: Mutex<State>,
    view: ArcSwap<View>,
    pub(crate) selections: Selections,
    /// Tests of a pattern so far.
    tests: AtomicU64,
    pub(crate) holes: Holes,
}

pub(crate) struct State {
    /// The oldest first. Views share the list: it is copied when it changes, which is seldom.
    pub(crate) sealed: Arc<VecDeque<Arc<Sealed>>>,
    pub(crate) active: Active,
    pub(crate) tail: Position,
    pub(crate) followers: Vec<Follower>,
}

/// The segment that is being written.
pub(crate) struct Active {
    pub(crate) segment: Segment,
    pub(crate) index: Arc<ActiveIndex>,
    pub(crate) first: Option<Position>,
    pub(crate) end: CommitEnd,
    /// Milliseconds since 1970 of its newest entry.
    pub(crate) newest: u64,
}

/// The state to look at: it is changed by [`DiskShared::change`] alone, which shows readers what came
/// of it.
pub(crate) struct Locked<'a>(MutexGuard<'a, State>);

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl State {
    /// What the active segment's index has, and its summary.
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
        state: State,
        clock: Clock,
        options: &DiskOptions,
    ) -> Self {
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

    /// Changes the state, and shows readers the outcome.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let outcome = change(&mut state);
        self.view.store(Arc::new(state.view()));
        outcome
    }

    /// Takes a commit in. Followers are called once readers see it, and before anyone else begins
    /// to follow.
    pub(crate) fn take_in<T>(
        &self,
        entries: &[Arc<Entry>],
        change: impl FnOnce(&mut State) -> T,
    ) -> T {
        let mut state = self.lock();
        let outcome = change(&mut state);
        self.view.store(Arc::new(state.view()));
        state.followers.iter().for_each(|follower| follower(entries));
        outcome
    }

    /// Takes notice of a turn's tests.
    pub(crate) fn spent(&self, budget: &Budget) {
        self.tests.fetch_add(budget.tests(), Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn tests(&self) -> u64 {
        self.tests.load(Ordering::Relaxed)
    }

    /// What there is now.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// A segment of a view, with its index.
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
