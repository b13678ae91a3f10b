//! The state that the writer shares with the readers.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, TryLockError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use carafe_protocol::{Offset, Position, TopicMatcher};

use crate::disk::format::commit::CommitEnd;
use crate::disk::format::index::Summary;
use crate::disk::index::active::ActiveIndex;
use crate::disk::options::DiskOptions;
use crate::disk::read::part::SegmentReader;
use crate::disk::read::selections::Selections;
use crate::disk::segment::file::Segment;
use crate::disk::segment::holes::Holes;
use crate::disk::segment::sealed::Sealed;
use crate::disk::storage::Storage;
use crate::disk::view::{Place, View};
use crate::lifecycle::{Lifecycle, changes_life};
use crate::remembered::Remembered;
use crate::wanted::Budget;
use crate::{Clock, DiskUsage, Entry, Erasures, Follower, ReadError};

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
    /// Keys of entries that a supplied log has trimmed. Changed by the writer. A leaf in the lock
    /// order.
    remembered: Mutex<Remembered>,
    /// Whether the log was opened without keys that still decide.
    pub(crate) lacks_keys: AtomicBool,
    // Held while the file of a sealed segment is removed or replaced: one thread trims, another
    // replaces. The lock of the state is taken under it.
    files: Mutex<()>,
    /// Bytes that a segment takes that is being written again, beside its old file. `Relaxed`: the
    /// writer may see it late.
    rewriting: AtomicU64,
    /// The offset before the active segment that is to be sealed, since it has erased content.
    /// `Relaxed`: the writer may see it late.
    seal_after: AtomicU64,
    /// The topics of which only the newest event is kept.
    pub(crate) compacted: ArcSwap<Vec<TopicMatcher>>,
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
    /// Erasures whose content may still be stored.
    pub(crate) erasures: Option<Arc<Erasures>>,
    /// The offset of the newest erasure since the log was opened.
    pub(crate) erased_to: Offset,
}

/// A log that was opened.
pub(crate) struct Opened {
    pub(crate) state: State,
    /// The size up to which space is allocated for the active segment.
    pub(crate) room_to: u32,
    pub(crate) lifecycle: Lifecycle,
}

/// Bytes that a segment takes while it is written again.
pub(crate) struct Rewriting<'a>(&'a AtomicU64);

impl Drop for Rewriting<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
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

    /// Adds the erasures among entries.
    fn erase(&mut self, entries: &[Arc<Entry>]) {
        let is_erasure = |entry: &&Arc<Entry>| entry.publication.is_erasure();
        for entry in entries.iter().filter(is_erasure) {
            Arc::make_mut(self.erasures.get_or_insert_default()).add(entry);
            self.erased_to = entry.offset();
        }
    }

    /// Forgets erasures of trimmed entries.
    pub(crate) fn forget_erasures_to(&mut self, start: Offset) {
        self.change_erasures(|erasures| erasures.trim(start));
    }

    fn change_erasures(&mut self, change: impl FnOnce(&mut Erasures)) {
        if let Some(erasures) = &mut self.erasures {
            change(Arc::make_mut(erasures));
            if erasures.is_empty() {
                self.erasures = None;
            }
        }
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
            erasures: self.erasures.clone(),
            erased_to: self.erased_to,
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
        let supplied = supplied.is_some();
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
            remembered: Mutex::default(),
            lacks_keys: AtomicBool::new(false),
            files: Mutex::default(),
            rewriting: AtomicU64::new(0),
            seal_after: AtomicU64::new(u64::MAX),
            compacted: ArcSwap::default(),
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
        // Before the followers: from the answer on, nobody reads what is erased.
        state.erase(entries);
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
        if entries.iter().any(|entry| entry.publication.is_erasure()) {
            let mut remembered = self.remembered();
            entries.iter().for_each(|entry| remembered.erase(entry));
        }
    }

    pub(crate) fn lifecycle(&self) -> RwLockReadGuard<'_, Lifecycle> {
        self.lifecycle.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys of trimmed entries.
    pub(crate) fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the ends of entries that were trimmed, up to an offset.
    pub(crate) fn forget_life(&self, start: Offset, decides_since: Option<SystemTime>) {
        let mut lifecycle = self.lifecycle.write().unwrap_or_else(PoisonError::into_inner);
        lifecycle.trim(start, decides_since);
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
            Place::Sealed(sealed) => self.sealed_part(view, sealed),
        }
    }

    fn sealed_part(&self, view: &View, sealed: &Arc<Sealed>) -> Result<SegmentReader, ReadError> {
        // A view may be older than a segment that was written again.
        if let Some(rewritten) = sealed.rewritten() {
            return self.sealed_part(view, &rewritten);
        }
        match sealed.index(&*self.storage) {
            // Written again meanwhile.
            Err(ReadError::Trimmed { .. }) if sealed.rewritten().is_some() => {
                self.sealed_part(view, sealed)
            }
            index => Ok(SegmentReader {
                erasures: view.erasures.clone(),
                ..SegmentReader::of(sealed, index?)
            }),
        }
    }

    /// Keeps the files of sealed segments as they are while the guard lives.
    pub(crate) fn lock_files(&self) -> MutexGuard<'_, ()> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, unless another thread has them.
    pub(crate) fn try_lock_files(&self) -> Option<MutexGuard<'_, ()>> {
        match self.files.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Whether a sealed segment is part of the log.
    pub(crate) fn has(&self, sealed: &Arc<Sealed>) -> bool {
        self.lock().sealed.iter().any(|known| Arc::ptr_eq(known, sealed))
    }

    /// Shows readers another segment in place of one that it has; `false` if that was trimmed.
    pub(crate) fn replace(&self, old: &Arc<Sealed>, new: &Arc<Sealed>) -> bool {
        let is_there = self.change(|state| {
            let at = state.sealed.iter().position(|known| Arc::ptr_eq(known, old));
            if let Some(at) = at {
                Arc::make_mut(&mut state.sealed)[at] = Arc::clone(new);
            }
            at.is_some()
        });
        if is_there {
            old.give_way_to(new);
        }
        is_there
    }

    /// Counts bytes that a rewritten segment takes, until the guard is dropped.
    pub(crate) fn rewriting(&self, bytes: u64) -> Rewriting<'_> {
        self.rewriting.store(bytes, Ordering::Relaxed);
        Rewriting(&self.rewriting)
    }

    pub(crate) fn rewriting_bytes(&self) -> u64 {
        self.rewriting.load(Ordering::Relaxed)
    }

    /// Asks the writer to seal the active segment, if it is still the one after this offset.
    pub(crate) fn seal_after(&self, offset: Offset) {
        self.seal_after.store(offset, Ordering::Relaxed);
    }

    pub(crate) fn is_to_be_sealed(&self, segment: &Segment) -> bool {
        self.seal_after.load(Ordering::Relaxed) == segment.header.previous.offset
    }

    /// Forgets erasures that have been carried out.
    pub(crate) fn forget_erasures(&self, done: &Erasures) {
        self.change(|state| state.change_erasures(|erasures| erasures.forget(done)));
    }
}

impl Active {
    pub(crate) fn empty(segment: Segment) -> Self {
        let end = CommitEnd::of_empty(&segment.header);
        let index = Arc::new(ActiveIndex::new(&segment.header));
        Self { segment, index, first: None, end, newest: 0 }
    }
}
