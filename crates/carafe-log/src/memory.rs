//! A bounded history in memory.

use std::cmp::Reverse;
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

/// How many of the hub's own events are kept, beside what others publish.
const OF_HUB: MemoryLimits = MemoryLimits { entries: 1000, bytes: 1 << 20 };

/// A log in memory: the newest entries, within [`MemoryLimits`]. A restart begins a new generation.
///
/// Every operation completes at once.
pub struct MemoryLog {
    // One lock orders appending, trimming and the followers' calls; nothing waits while it is held.
    state: Mutex<State>,
}

/// How much history a [`MemoryLog`] keeps. The hub's own events do not count: of those, a thousand are kept, of 1 MiB at most.
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
                published: Kept::default(),
                of_hub: Kept::default(),
                gone_of_hub: 0,
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
            oldest: state.after(0).next().map(|entry| entry.position),
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
    published: Kept,
    of_hub: Kept,
    /// The last of the hub's own events that were dropped. Positions up to here may be of such.
    gone_of_hub: Offset,
    keys: HashMap<(Topic, IdempotencyKey), Position>,
    /// All entries with an ID of their publisher, of any topic.
    by_id: HashMap<IdempotencyKey, VecDeque<Position>>,
    followers: Vec<Follower>,
}

/// Entries of one kind, the oldest first.
#[derive(Default)]
struct Kept {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
}

impl Kept {
    fn push(&mut self, entry: Arc<Entry>) {
        self.bytes += entry.weight();
        self.entries.push_back(entry);
    }

    fn pop(&mut self) -> Option<Arc<Entry>> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.weight();
        Some(entry)
    }

    fn is_over(&self, limits: MemoryLimits) -> bool {
        self.entries.len() > limits.entries || self.bytes > limits.bytes
    }

    /// The place of the first entry after an offset.
    fn after(&self, offset: Offset) -> usize {
        self.entries.partition_point(|entry| entry.offset() <= offset)
    }

    fn at(&self, offset: Offset) -> Option<&Entry> {
        let at = self.entries.binary_search_by_key(&offset, |entry| entry.offset()).ok()?;
        Some(&self.entries[at])
    }
}

impl State {
    fn tail(&self) -> Position {
        self.up_to(Offset::MAX).next().map_or(self.start, |entry| entry.position)
    }

    /// All entries after an offset, in order.
    fn after(&self, offset: Offset) -> impl Iterator<Item = &Arc<Entry>> {
        let [published, of_hub] =
            [&self.published, &self.of_hub].map(|kept| kept.entries.range(kept.after(offset)..));
        merged(published, of_hub, Entry::offset)
    }

    /// All entries up to an offset, the newest first.
    fn up_to(&self, offset: Offset) -> impl Iterator<Item = &Arc<Entry>> {
        let [published, of_hub] =
            [&self.published, &self.of_hub].map(|kept| kept.entries.range(..kept.after(offset)).rev());
        merged(published, of_hub, |entry| Reverse(entry.offset()))
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
        let mut newest: Vec<_> = self.up_to(Offset::MAX).take_while(fits).cloned().collect();
        newest.reverse();
        let first = newest.first().map_or(Offset::MAX, |entry| entry.offset());
        let before = self.up_to(first.saturating_sub(1)).next();
        Followed { after: before.map_or(self.start, |entry| entry.position), recent: newest }
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
            self.remember_key(&entry.publication, entry.position);
            if let Some(id) = entry.publication.id() {
                self.by_id.entry(id.clone()).or_default().push_back(entry.position);
            }
            let kept = if entry.publication.is_of_hub() { &mut self.of_hub } else { &mut self.published };
            kept.push(Arc::clone(entry));
        }
        self.trim();
        if !entries.is_empty() {
            self.followers.iter().for_each(|follower| follower(&entries));
        }
    }

    fn trim(&mut self) {
        while self.published.is_over(self.limits) {
            let Some(entry) = self.published.pop() else { return };
            self.start = entry.position;
            self.forget_key(&entry);
        }
        while let Some(oldest) = self.of_hub.entries.front()
            && (oldest.offset() <= self.start.offset
                || (self.of_hub.is_over(OF_HUB) && self.of_hub.entries.len() > 1))
        {
            let Some(entry) = self.of_hub.pop() else { return };
            self.gone_of_hub = entry.offset();
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
            if positions.front() == Some(&entry.position) {
                positions.pop_front();
            } else {
                positions.retain(|position| *position != entry.position);
            }
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
        match self.entry_at(position.offset) {
            _ if position == self.start => Find::Found,
            Some(entry) if entry.position == position => Find::Found,
            // All that was published after it is kept.
            None if position.offset > self.start.offset && position.offset <= self.gone_of_hub => Find::Found,
            _ => Find::Foreign,
        }
    }

    fn entry_at(&self, offset: Offset) -> Option<&Entry> {
        self.published.at(offset).or_else(|| self.of_hub.at(offset))
    }

    fn find_id(&self, id: &IdempotencyKey, visible: &Visible) -> Option<Position> {
        let mut entries = self.by_id.get(id)?.iter().filter_map(|position| self.entry_at(position.offset));
        entries.find(|entry| visible.shows(&entry.publication)).map(|entry| entry.position)
    }

    fn read(&self, after: Offset, wanted: &[TopicMatcher], limit: BlockLimit) -> Result<Block, ReadError> {
        if after < self.start.offset {
            return Err(ReadError::Trimmed { after, start: self.start });
        }
        let before = self.up_to(after).next();
        let mut block =
            Block { entries: Vec::new(), up_to: before.map_or(self.start, |entry| entry.position) };
        let mut bytes = 0;
        for entry in self.after(after).take(SCAN) {
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
        let mut newest_first = self.up_to(Offset::MAX);
        let found = newest_first.by_ref().filter(|entry| counts(&entry.publication)).nth(count - 1);
        let before = found.and_then(|_| newest_first.next());
        before.map_or(self.start, |entry| entry.position)
    }
}

/// What both have, by the key by which each is in order.
fn merged<'a, K: Ord>(
    one: impl Iterator<Item = &'a Arc<Entry>>,
    other: impl Iterator<Item = &'a Arc<Entry>>,
    key: impl Fn(&Entry) -> K,
) -> impl Iterator<Item = &'a Arc<Entry>> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    std::iter::from_fn(move || match (one.peek(), other.peek()) {
        (Some(first), Some(second)) if key(second) < key(first) => other.next(),
        (None, _) => other.next(),
        _ => one.next(),
    })
}
