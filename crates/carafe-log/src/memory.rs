//! A bounded history in memory.

use std::collections::{HashMap, VecDeque};
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carafe_protocol::{Generation, Offset, Position, Topic, TopicMatcher};

use crate::{
    Append, AppendAt, AppendAtError, AppendError, Appended, Block, BlockLimit, BoxFuture, Clock, Entry, Find,
    Followed, Follower, IdempotencyKey, Publication, Read, ReadError, Span, Visible,
};

/// How many entries one read looks through, so that a reader of a rare topic does not hold up publishers.
const SCAN: usize = 4096;

/// A log in memory: the newest entries, within [`MemoryLimits`]. A restart begins a new generation.
///
/// Every operation completes at once.
pub struct MemoryLog {
    // One lock orders appending, trimming and the followers' calls; nothing waits while it is held.
    state: Mutex<State>,
}

/// How much history a [`MemoryLog`] keeps.
#[derive(Clone, Copy, Debug)]
pub struct MemoryLimits {
    /// Entries at most.
    pub entries: usize,
    /// Bytes at most, by [`Entry::weight`].
    pub bytes: usize,
}

impl Default for MemoryLimits {
    /// A million entries and 64 MiB.
    fn default() -> Self {
        Self { entries: 1_000_000, bytes: 64 << 20 }
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new(MemoryLimits::default())
    }
}

impl MemoryLog {
    /// An empty log of a new generation.
    #[must_use]
    pub fn new(limits: MemoryLimits) -> Self {
        Self::begin(limits, Generation::new(rand::random()), false)
    }

    /// An empty log of a known generation, for entries that another node supplies with their offsets: a position beyond its
    /// tail may still arrive.
    #[must_use]
    pub fn with_generation(limits: MemoryLimits, generation: Generation) -> Self {
        Self::begin(limits, generation, true)
    }

    fn begin(limits: MemoryLimits, generation: Generation, supplied: bool) -> Self {
        let start = Position { generation, offset: 0, nonce: 0 };
        Self {
            state: Mutex::new(State {
                limits,
                clock: Clock::system(),
                supplied,
                start,
                entries: VecDeque::new(),
                bytes: 0,
                keys: HashMap::new(),
                by_id: HashMap::new(),
                followers: Vec::new(),
            }),
        }
    }

    /// The same log with another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        self.state().clock = clock;
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A follower that panicked has not touched the entries: they were stored before it was called.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Append for MemoryLog {
    fn append(&self, batch: Vec<Publication>) -> BoxFuture<'_, Result<Vec<Appended>, AppendError>> {
        Box::pin(async move { self.state().append(batch) })
    }
}

impl AppendAt for MemoryLog {
    fn append_at(&self, entries: Vec<Entry>) -> BoxFuture<'_, Result<(), AppendAtError>> {
        Box::pin(async move { self.state().append_at(entries) })
    }
}

impl Read for MemoryLog {
    fn clock(&self) -> Clock {
        self.state().clock.clone()
    }

    fn span(&self) -> Span {
        let state = self.state();
        Span {
            start: state.start,
            oldest: state.entries.front().map(|entry| entry.position),
            tail: state.tail(),
        }
    }

    fn find(&self, position: Position) -> BoxFuture<'_, Result<Find, ReadError>> {
        Box::pin(ready(Ok(self.state().find(position))))
    }

    fn find_id(
        &self,
        id: IdempotencyKey,
        visible: Visible,
    ) -> BoxFuture<'_, Result<Option<Position>, ReadError>> {
        Box::pin(ready(Ok(self.state().find_id(&id, &visible))))
    }

    fn read(
        &self,
        after: Offset,
        wanted: Vec<TopicMatcher>,
        limit: BlockLimit,
    ) -> BoxFuture<'_, Result<Block, ReadError>> {
        Box::pin(ready(self.state().read(after, &wanted, limit)))
    }

    fn before_last(
        &self,
        count: usize,
        wanted: Vec<TopicMatcher>,
        visible: Visible,
    ) -> BoxFuture<'_, Result<Position, ReadError>> {
        Box::pin(ready(Ok(self.state().before_last(count, &wanted, &visible))))
    }

    fn follow(&self, recent: usize, follower: Follower) -> Followed {
        let mut state = self.state();
        state.followers.push(follower);
        state.recent(recent)
    }
}

struct State {
    limits: MemoryLimits,
    clock: Clock,
    /// Another node may still deliver what lies beyond the tail.
    supplied: bool,
    /// Just before the oldest entry.
    start: Position,
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    keys: HashMap<(Topic, IdempotencyKey), Position>,
    /// All entries with an ID of their publisher, of any topic.
    by_id: HashMap<IdempotencyKey, VecDeque<Position>>,
    followers: Vec<Follower>,
}

impl State {
    fn tail(&self) -> Position {
        self.entries.back().map_or(self.start, |entry| entry.position)
    }

    fn append(&mut self, batch: Vec<Publication>) -> Result<Vec<Appended>, AppendError> {
        let bytes = batch.iter().map(Entry::weight_of).sum();
        if bytes > self.limits.bytes {
            return Err(AppendError::TooLarge { bytes, limit: self.limits.bytes });
        }
        let time = self.clock.now();
        let mut tail = self.tail();
        let mut fresh = Vec::with_capacity(batch.len());
        let appended = batch
            .into_iter()
            .map(|publication| {
                if let Some(position) = self.first_with_key_of(&publication) {
                    return Appended { position, repeated: true };
                }
                tail.offset += 1;
                tail.nonce = rand::random();
                self.remember_key(&publication, tail);
                fresh.push(Entry { position: tail, time, publication });
                Appended { position: tail, repeated: false }
            })
            .collect();
        self.store(fresh);
        Ok(appended)
    }

    fn append_at(&mut self, entries: Vec<Entry>) -> Result<(), AppendAtError> {
        let mut tail = self.tail().offset;
        for entry in &entries {
            if entry.offset() <= tail {
                return Err(AppendAtError::OutOfOrder { offset: entry.offset(), tail });
            }
            tail = entry.offset();
        }
        self.store(entries);
        Ok(())
    }

    fn recent(&self, bytes: usize) -> Followed {
        let mut room = bytes;
        let fits = |entry: &&Arc<Entry>| room.checked_sub(entry.weight()).map(|left| room = left).is_some();
        let count = self.entries.iter().rev().take_while(fits).count();
        let first = self.entries.len() - count;
        let after = first.checked_sub(1).map_or(self.start, |at| self.entries[at].position);
        Followed { after, recent: self.entries.range(first..).cloned().collect() }
    }

    fn first_with_key_of(&self, publication: &Publication) -> Option<Position> {
        let key = publication.key()?;
        self.keys.get(&(publication.topic().clone(), key.clone())).copied()
    }

    fn remember_key(&mut self, publication: &Publication, position: Position) {
        if let Some(key) = publication.key() {
            self.keys.entry((publication.topic().clone(), key.clone())).or_insert(position);
        }
    }

    fn store(&mut self, entries: Vec<Entry>) {
        let entries: Vec<_> = entries.into_iter().map(Arc::new).collect();
        for entry in &entries {
            self.bytes += entry.weight();
            self.remember_key(&entry.publication, entry.position);
            if let Some(id) = entry.publication.id() {
                self.by_id.entry(id.clone()).or_default().push_back(entry.position);
            }
            self.entries.push_back(Arc::clone(entry));
        }
        self.trim();
        if !entries.is_empty() {
            self.followers.iter().for_each(|follower| follower(&entries));
        }
    }

    fn trim(&mut self) {
        while self.entries.len() > self.limits.entries || self.bytes > self.limits.bytes {
            let Some(entry) = self.entries.pop_front() else {
                return;
            };
            self.start = entry.position;
            self.bytes -= entry.weight();
            self.forget_key(&entry);
        }
    }

    fn forget_key(&mut self, entry: &Entry) {
        if let Some(key) = entry.publication.key() {
            let name = (entry.publication.topic().clone(), key.clone());
            if self.keys.get(&name) == Some(&entry.position) {
                self.keys.remove(&name);
            }
        }
        if let Some(id) = entry.publication.id()
            && let Some(positions) = self.by_id.get_mut(id)
        {
            positions.pop_front();
            if positions.is_empty() {
                self.by_id.remove(id);
            }
        }
    }

    fn find(&self, position: Position) -> Find {
        if position.generation != self.start.generation {
            return Find::Foreign;
        }
        if position.offset > self.tail().offset {
            return if self.supplied { Find::Ahead } else { Find::Lost { common: self.tail() } };
        }
        if position.offset < self.start.offset {
            return Find::Trimmed;
        }
        if position == self.start || self.holds(position) { Find::Found } else { Find::Foreign }
    }

    fn holds(&self, position: Position) -> bool {
        self.entry_at(position.offset).is_some_and(|entry| entry.position == position)
    }

    fn entry_at(&self, offset: Offset) -> Option<&Entry> {
        let at = self.entries.binary_search_by_key(&offset, |entry| entry.offset()).ok()?;
        Some(&self.entries[at])
    }

    fn find_id(&self, id: &IdempotencyKey, visible: &Visible) -> Option<Position> {
        let mut entries = self.by_id.get(id)?.iter().filter_map(|position| self.entry_at(position.offset));
        entries.find(|entry| visible.shows(&entry.publication)).map(|entry| entry.position)
    }

    fn read(&self, after: Offset, wanted: &[TopicMatcher], limit: BlockLimit) -> Result<Block, ReadError> {
        if after < self.start.offset {
            return Err(ReadError::Trimmed { after, start: self.start });
        }
        let from = self.entries.partition_point(|entry| entry.offset() <= after);
        let mut block = Block {
            entries: Vec::new(),
            up_to: from.checked_sub(1).map_or(self.start, |at| self.entries[at].position),
        };
        let mut bytes = 0;
        for entry in self.entries.range(from..).take(SCAN) {
            if entry.publication.matches(wanted) {
                bytes += entry.weight();
                if !block.entries.is_empty() && (block.entries.len() >= limit.entries || bytes > limit.bytes)
                {
                    break;
                }
                block.entries.push(Arc::clone(entry));
            }
            block.up_to = entry.position;
        }
        Ok(block)
    }

    fn before_last(&self, count: usize, wanted: &[TopicMatcher], visible: &Visible) -> Position {
        if count == 0 {
            return self.tail();
        }
        let counts = |publication: &Publication| publication.matches(wanted) && visible.shows(publication);
        let mut matching = (0..self.entries.len()).rev().filter(|&at| counts(&self.entries[at].publication));
        match matching.nth(count - 1) {
            None | Some(0) => self.start,
            Some(at) => self.entries[at - 1].position,
        }
    }
}
