//! The entries of a log in memory, and the rules for appending and trimming. It knows no lock.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::slice;
use std::sync::Arc;
use std::time::SystemTime;

use carafe_protocol::{Offset, Position, Topic};

use super::dropped::Dropped;
use super::limits::MemoryLimits;
use crate::Erasures;
use crate::commit::is_between_commits;
use crate::entry::entry_at;
use crate::key_table::KeyTable;
use crate::lifecycle::{Bounds, Changes, Decisions, Lifecycle};
use crate::placement::{Placement, check_order};
use crate::remembered::{Remembered, decides_since};
use crate::{
    AppendAtError, AppendError, Appended, Clock, Entry, ExternalId, Find, Followed, Follower,
    IdempotencyKey, OrderedCommit, Publication,
};

/// The limits for events that the hub itself publishes.
const OF_HUB: MemoryLimits = MemoryLimits {
    entries: 1000,
    bytes: 1 << 20,
    key_window: crate::KEY_WINDOW,
    pattern_tests: crate::PATTERN_TESTS,
    ended_topics: crate::ENDED_TOPICS,
};

pub(super) struct State {
    pub(super) limits: MemoryLimits,
    pub(super) clock: Clock,
    /// Whether another node may still supply entries beyond the tail.
    pub(super) supplied: bool,
    /// The offset up to which everything was supplied, as was noted.
    pub(super) noted: Offset,
    /// The position before the oldest entry.
    pub(super) start: Position,
    pub(super) published: Kept,
    pub(super) of_hub: Kept,
    /// The offset of the newest dropped event of the hub. Positions up to here may belong to
    /// dropped events.
    pub(super) gone_of_hub: Offset,
    /// The same, one by one, if the log is supplied.
    dropped_of_hub: Dropped,
    pub(super) keys: KeyTable<Key, ()>,
    /// Keys of entries that a supplied log has trimmed.
    pub(super) remembered: Remembered,
    /// The positions of all entries with an external ID, of any topic.
    pub(super) by_external_id: HashMap<ExternalId, VecDeque<Position>>,
    pub(super) lifecycle: Lifecycle,
    /// Erasures that are being carried out.
    pub(super) erasures: Erasures,
    /// Entries up to this offset have nothing that they erase.
    pub(super) erased_to: Offset,
    pub(super) followers: Vec<Follower>,
}

/// An idempotency key, and the topic within which it is valid.
pub(super) type Key = (Topic, IdempotencyKey);

/// The answer to each batch of a commit.
type CommitAnswers = Vec<Result<Vec<Appended>, AppendError>>;

/// The new entries of a batch, and the answers.
type Ordered = (Vec<Arc<Entry>>, Vec<Appended>);

/// Entries of one kind, the oldest first.
#[derive(Default)]
pub(super) struct Kept {
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

    /// The index of the first entry after an offset.
    fn after(&self, offset: Offset) -> usize {
        self.entries.partition_point(|entry| entry.offset() <= offset)
    }

    fn at(&self, offset: Offset) -> Option<&Arc<Entry>> {
        let at = self.entries.binary_search_by_key(&offset, |entry| entry.offset()).ok()?;
        Some(&self.entries[at])
    }

    /// Replaces the entry with the same offset, if there is one.
    pub(super) fn replace(&mut self, entry: Entry) {
        let found = self.entries.binary_search_by_key(&entry.offset(), |entry| entry.offset());
        let Some(known) = found.ok().and_then(|at| self.entries.get_mut(at)) else { return };
        self.bytes = self.bytes - known.weight() + entry.weight();
        *known = Arc::new(entry);
    }
}

impl State {
    /// An empty state.
    pub(super) fn new(limits: MemoryLimits, start: Position, supplied: bool) -> Self {
        Self {
            limits,
            clock: Clock::system(),
            supplied,
            noted: 0,
            start,
            published: Kept::default(),
            of_hub: Kept::default(),
            gone_of_hub: 0,
            dropped_of_hub: Dropped::default(),
            keys: KeyTable::default(),
            remembered: Remembered::default(),
            by_external_id: HashMap::new(),
            lifecycle: Lifecycle::default(),
            erasures: Erasures::default(),
            erased_to: 0,
            followers: Vec::new(),
        }
    }

    pub(super) fn tail(&self) -> Position {
        // Both queues are sorted, so the newest entry is the last of one of them. Without entries,
        // the tail is where history was trimmed to.
        let newest = [&self.published, &self.of_hub].map(|kept| kept.entries.back());
        let newest = newest.into_iter().flatten().max_by_key(|entry| entry.offset());
        newest.map_or(self.start, |entry| entry.position)
    }

    /// All entries after an offset, in order.
    pub(super) fn after(&self, offset: Offset) -> impl Iterator<Item = &Arc<Entry>> {
        let [published, of_hub] =
            [&self.published, &self.of_hub].map(|kept| kept.entries.range(kept.after(offset)..));
        merged(published, of_hub, Entry::offset)
    }

    /// All entries up to an offset, the newest first.
    pub(super) fn up_to(&self, offset: Offset) -> impl Iterator<Item = &Arc<Entry>> {
        let [published, of_hub] = [&self.published, &self.of_hub]
            .map(|kept| kept.entries.range(..kept.after(offset)).rev());
        merged(published, of_hub, |entry| Reverse(entry.offset()))
    }

    pub(super) fn append(&mut self, batch: Vec<Publication>) -> Result<Vec<Appended>, AppendError> {
        let bytes = batch.iter().map(Entry::weight_of).sum();
        if bytes > self.limits.bytes {
            return Err(AppendError::TooLarge { bytes, limit: self.limits.bytes });
        }
        let placement = Placement::behind(self.tail(), self.clock.now());
        let bounds = Bounds::of_own(self.limits.ended_topics);
        let (fresh, appended) = self.ordered(batch, placement, bounds)?;
        self.store(&fresh);
        self.trim_and_hand_out(&fresh);
        Ok(appended)
    }

    /// Decides over a commit batch by batch. Nothing is trimmed in between, so that a batch is
    /// decided by all that the commit has before it. Followers get its entries at once.
    ///
    /// # Errors
    /// When the commit does not follow the tail.
    pub(super) fn append_ordered(
        &mut self,
        ordered: OrderedCommit,
    ) -> Result<CommitAnswers, AppendAtError> {
        check_order(slice::from_ref(&ordered), self.tail().offset)?;
        self.clock.supply(ordered.time);
        let mut placement = Placement::of(&ordered, self.start.generation);
        let bounds = Bounds::of_commit(placement.time, self.limits.key_window);
        let (mut answers, mut all) = (Vec::new(), Vec::new());
        for batch in ordered.commit.batches {
            let next = placement.after(batch.len());
            answers.push(self.ordered(batch, placement, bounds).map(|(fresh, appended)| {
                self.store(&fresh);
                all.extend(fresh);
                appended
            }));
            placement = next;
        }
        self.trim_and_hand_out(&all);
        Ok(answers)
    }

    /// Gives the publications their positions and answers. Changes nothing, so that a batch can be
    /// refused.
    fn ordered(
        &self,
        batch: Vec<Publication>,
        placement: Placement,
        bounds: Bounds,
    ) -> Result<Ordered, AppendError> {
        let time = placement.time;
        let (mut fresh, mut appended) = (Vec::<Arc<Entry>>::new(), Vec::new());
        let nothing = Changes::default();
        let mut decisions = Decisions::new(&self.lifecycle, &nothing, bounds);
        let (mut keys, mut erasures) = (HashMap::new(), Erasures::default());
        for (number, publication) in batch.into_iter().enumerate() {
            let key = key_of(&publication);
            // A second event with the same key in the batch counts as repeated, too.
            let is_erased = |position: &Position| {
                entry_at(&fresh, position.offset).is_some_and(|entry| erasures.covers(entry))
            };
            let known = key.as_ref().and_then(|key| {
                let of_batch = keys.get(key).copied().filter(|position| !is_erased(position));
                of_batch.or_else(|| self.known(key, time, &erasures))
            });
            // Known keys first: a producer may send its last events again after the end.
            let known = known.map_or_else(|| decisions.check(&publication), |key| Ok(Some(key)))?;
            if let Some(position) = known {
                appended.push(Appended { position, repeated: true });
                continue;
            }
            let position = placement.position(number, fresh.last().map(|entry| entry.position));
            keys.extend(key.map(|key| (key, position)));
            let renews = decisions.renews(&publication);
            let publication = publication.with_renewal(renews);
            let entry = Arc::new(Entry { position, time, publication });
            decisions.record(&entry);
            erasures.add(&entry);
            fresh.push(entry);
            appended.push(Appended { position, repeated: false });
        }
        Ok((fresh, appended))
    }

    pub(super) fn append_at(&mut self, entries: Vec<Entry>) -> Result<(), AppendAtError> {
        let mut tail = self.tail().offset;
        for entry in &entries {
            if entry.offset() <= tail {
                return Err(AppendAtError::OutOfOrder { offset: entry.offset(), tail });
            }
            tail = entry.offset();
        }
        if let Some(newest) = entries.last() {
            self.clock.supply(newest.time);
        }
        let entries: Vec<_> = entries.into_iter().map(Arc::new).collect();
        self.store(&entries);
        self.trim_and_hand_out(&entries);
        Ok(())
    }

    pub(super) fn recent(&self, bytes: usize) -> Followed {
        let mut room = bytes;
        let fits = |entry: &&Arc<Entry>| {
            room.checked_sub(entry.weight()).map(|left| room = left).is_some()
        };
        let mut newest: Vec<_> =
            self.up_to(Offset::MAX).take_while(fits).map(|entry| self.readable(entry)).collect();
        newest.reverse();
        let first = newest.first().map_or(Offset::MAX, |entry| entry.offset());
        let before = self.up_to(first.saturating_sub(1)).next();
        Followed { after: before.map_or(self.start, |entry| entry.position), recent: newest }
    }

    /// The stored entry that a publication at this time with this key would repeat, unless
    /// `erasures` erase it.
    fn known(&self, key: &Key, time: SystemTime, erasures: &Erasures) -> Option<Position> {
        let is_erased = |entry: &Arc<Entry>| self.erasures.covers(entry) || erasures.covers(entry);
        let mut kept = self.keys.of(key).filter_map(|(offset, ())| self.entry_at(offset));
        let kept = kept.find(|entry| !is_erased(entry)).map(|entry| (entry.position, entry.time));
        let trimmed = self.remembered.find(&key.0, &key.1, erasures);
        // Events of the hub may be trimmed before older entries.
        let newest = kept.into_iter().chain(trimmed).max_by_key(|(position, _)| position.offset);
        let (position, stored) = newest?;
        // An entry of the future has age zero: its key is known.
        let age = time.duration_since(stored).unwrap_or_default();
        (age < self.limits.key_window).then_some(position)
    }

    fn add_key(&mut self, entry: &Entry) {
        let Some(key) = key_of(&entry.publication) else { return };
        let (kept, erasures) = ([&self.published, &self.of_hub], &self.erasures);
        self.keys.add(key, entry.offset(), (), |offset, ()| {
            let known = kept.into_iter().find_map(|kept| kept.at(offset));
            known.is_none_or(|known| erasures.covers(known))
        });
    }

    fn store(&mut self, entries: &[Arc<Entry>]) {
        for entry in entries {
            self.add_key(entry);
            self.lifecycle.apply(entry);
            self.begin_erasure(entry);
            if let Some(id) = entry.publication.external_id() {
                self.by_external_id.entry(id.clone()).or_default().push_back(entry.position);
            }
            let kept =
                if entry.publication.is_of_hub() { &mut self.of_hub } else { &mut self.published };
            kept.push(Arc::clone(entry));
        }
    }

    fn trim_and_hand_out(&mut self, entries: &[Arc<Entry>]) {
        self.trim();
        if !entries.is_empty() {
            self.followers.iter().for_each(|follower| follower(entries));
        }
    }

    fn trim(&mut self) {
        while self.published.is_over(self.limits) {
            let Some(entry) = self.published.pop() else { return };
            self.start = entry.position;
            self.remember(&entry);
            self.forget_key(&entry);
        }
        self.forget_what_decides_no_more();
        while let Some(oldest) = self.of_hub.entries.front()
            && (oldest.offset() <= self.start.offset
                || (self.of_hub.is_over(OF_HUB) && self.of_hub.entries.len() > 1))
        {
            let Some(entry) = self.of_hub.pop() else { return };
            self.gone_of_hub = entry.offset();
            if self.supplied {
                self.dropped_of_hub.push(entry.position);
            }
            self.remember(&entry);
            self.forget_key(&entry);
        }
        self.dropped_of_hub.trim(self.start.offset);
    }

    /// Remembers the key of an entry that is trimmed, if other nodes may still have it.
    fn remember(&mut self, entry: &Entry) {
        if self.supplied && !self.erasures.covers(entry) {
            self.remembered.add(entry);
        }
    }

    pub(super) fn forget_what_decides_no_more(&mut self) {
        let since = self.trimmed_decides_since();
        self.lifecycle.trim(self.start.offset, since);
        if let Some(since) = since {
            self.remembered.expire(since);
        }
    }

    /// The time up to which trimmed entries decide no more. `None` if none ever does.
    fn trimmed_decides_since(&self) -> Option<SystemTime> {
        self.supplied.then(|| decides_since(&self.clock, self.limits.key_window))
    }

    pub(super) fn forget_key(&mut self, entry: &Entry) {
        if let Some(key) = key_of(&entry.publication) {
            self.keys.remove(&key, entry.offset());
        }
        if let Some(id) = entry.publication.external_id()
            && let Some(positions) = self.by_external_id.get_mut(id)
        {
            // Trimmed in order, except that events of the hub go before older publications.
            if positions.front() == Some(&entry.position) {
                positions.pop_front();
            } else {
                positions.retain(|position| *position != entry.position);
            }
            if positions.is_empty() {
                self.by_external_id.remove(id);
            }
        }
    }

    pub(super) fn find(&self, position: Position) -> Find {
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
            // The history of another node begins there, or it is a dropped event of the hub: all
            // publications after it are stored.
            None if self.supplied => {
                let is_known = is_between_commits(position) || self.dropped_of_hub.has(position);
                if is_known { Find::Found } else { Find::Foreign }
            }
            // A dropped event of the hub.
            None if position.offset > self.start.offset && position.offset <= self.gone_of_hub => {
                Find::Found
            }
            _ => Find::Foreign,
        }
    }

    pub(super) fn entry_at(&self, offset: Offset) -> Option<&Arc<Entry>> {
        self.published.at(offset).or_else(|| self.of_hub.at(offset))
    }
}

fn key_of(publication: &Publication) -> Option<Key> {
    publication.key().map(|key| (publication.topic().clone(), key.clone()))
}

/// Merges two iterators that are sorted by `key`.
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
