//! Looks up idempotency keys before a batch reaches the writer.
//!
//! The lookup runs outside the writer: it tests the filters of the sealed segments, and reads the
//! disk only if a filter returns a positive. The writer then checks only the entries that were
//! stored since, which are in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use carafe_protocol::{Offset, Position, Topic};

use crate::codec;
use crate::disk::format::filter::HashKind;
use crate::disk::format::index::{HashInput, Ordinal, hash, milliseconds};
use crate::disk::index::file::{SegmentIndex, unreadable};
use crate::disk::read::part::SegmentReader;
use crate::disk::segment::hashed_texts::HashedTexts;
use crate::disk::state::DiskShared;
use crate::disk::view::{Place, View};
use crate::{Entry, Erasures, IdempotencyKey, Publication, ReadError};

/// A key is valid within its topic.
pub(crate) type Name = (Topic, IdempotencyKey);

pub(crate) fn key_of(publication: &Publication) -> Option<Name> {
    name_of(publication).map(|(topic, key)| (topic.clone(), key.clone()))
}

fn name_of(publication: &Publication) -> Option<(&Topic, &IdempotencyKey)> {
    publication.key().map(|key| (publication.topic(), key))
}

fn hash_input((topic, key): (&Topic, &IdempotencyKey)) -> HashInput {
    HashInput::of(&[topic.as_str(), key.as_str()])
}

/// The lookup of the keys of a batch.
pub(crate) struct KeyLookup {
    /// The entries that are searched. The writer searches the later ones.
    view: Arc<View>,
    /// Keys that were stored before are forgotten.
    since: Option<u64>,
    /// The number of publications whose keys the filters were tested with.
    tested: usize,
    /// Publications, by their index in the batch, and the segments that may have their keys. For
    /// each publication, the newest segment is the first: publishers usually repeat recent events.
    candidates: VecDeque<(usize, Place)>,
    /// The entries that the publications repeat.
    found: HashMap<usize, StoredKey>,
}

/// The entry that has a key.
#[derive(Clone, Copy)]
pub(crate) struct StoredKey {
    pub(crate) position: Position,
    pub(crate) time: SystemTime,
}

impl StoredKey {
    pub(crate) fn of(entry: &Entry) -> Self {
        Self { position: entry.position, time: entry.time }
    }
}

/// The number of filters that are tested without another turn: some tens of microseconds.
const AT_ONCE: usize = 2 << 10;

/// The number of filters that are tested in one turn: less than a millisecond.
const PROBES: usize = 32 << 10;

/// The number of candidates that are read from the disk in one turn.
const LOOKUPS: usize = 32;

impl DiskShared {
    /// Starts looking up the keys of publications that are stored at this time at the earliest. If
    /// there are few, tests the filters.
    pub(crate) fn look_up(&self, batch: &[Publication], time: SystemTime) -> KeyLookup {
        let mut lookup = KeyLookup {
            view: self.view(),
            since: self.known_since(time),
            tested: 0,
            candidates: VecDeque::new(),
            found: HashMap::new(),
        };
        let keys = batch.iter().filter(|publication| publication.key().is_some()).count();
        if keys * (lookup.view.sealed.len() + 1) <= AT_ONCE {
            lookup.test_filters(batch);
        }
        lookup
    }

    /// The time in milliseconds since 1970 after which stored keys are still remembered.
    pub(crate) fn known_since(&self, now: SystemTime) -> Option<u64> {
        milliseconds(now).checked_sub(codec::milliseconds(self.key_window))
    }

    /// The position of the entry that a publication of a batch repeats, unless `erasures` erase it.
    pub(crate) fn known(
        &self,
        name: &Name,
        number: usize,
        looked: &KeyLookup,
        now: SystemTime,
        erasures: &Erasures,
    ) -> Result<Option<Position>, ReadError> {
        let kept = self.kept_with_key(name, number, looked, now, erasures)?;
        Ok(kept.or_else(|| self.trimmed_with_key(name, now, erasures)))
    }

    /// The trimmed entry that has a key.
    fn trimmed_with_key(
        &self,
        (topic, key): &Name,
        now: SystemTime,
        erasures: &Erasures,
    ) -> Option<Position> {
        let (position, time) = self.remembered().find(topic, key, erasures)?;
        is_since(milliseconds(time), self.known_since(now)).then_some(position)
    }

    fn kept_with_key(
        &self,
        (topic, key): &Name,
        number: usize,
        looked: &KeyLookup,
        now: SystemTime,
        erasures: &Erasures,
    ) -> Result<Option<Position>, ReadError> {
        let (view, since) = (self.view(), self.known_since(now));
        let mut beyond = looked.view.tail.offset;
        if let Some(known) = looked.found.get(&number) {
            if !self.is_found(known, looked, &view, erasures)? {
                // All is searched again, which is rare.
                beyond = 0;
            } else if is_since(milliseconds(known.time), since) {
                return Ok(Some(known.position));
            }
        }
        if view.tail.offset <= beyond {
            return Ok(None);
        }
        let is_erased = |entry: &Entry| erasures.covers(entry);
        let name = (topic, key);
        for (_, place) in candidates(&view, vec![hash_input(name)], beyond, since) {
            if let Some(known) = self.newest_in(&view, &place, name, beyond, since, is_erased)? {
                return Ok(Some(known.position));
            }
        }
        Ok(None)
    }

    /// Whether an entry that was found is still there, and has not been erased since.
    fn is_found(
        &self,
        known: &StoredKey,
        looked: &KeyLookup,
        view: &View,
        erasures: &Erasures,
    ) -> Result<bool, ReadError> {
        let offset = known.position.offset;
        if view.erased_to > looked.view.tail.offset || offset <= view.start().offset {
            return Ok(false);
        }
        if erasures.is_empty() {
            return Ok(true);
        }
        let entry = self.entry_at(view, offset)?;
        Ok(entry.is_some_and(|entry| !erasures.covers(&entry)))
    }

    /// The newest entry of a segment after an offset that has this key, was stored recently enough
    /// and is not erased. An older one has the key only if its window had passed when the newer was
    /// stored.
    fn newest_in(
        &self,
        view: &View,
        place: &Place,
        (topic, key): (&Topic, &IdempotencyKey),
        beyond: Offset,
        since: Option<u64>,
        is_erased: impl Fn(&Entry) -> bool,
    ) -> Result<Option<StoredKey>, ReadError> {
        let part = match self.part(view, place) {
            Err(ReadError::Trimmed { .. }) => return Ok(None),
            part => part?,
        };
        let hash = hash(&[topic.as_str(), key.as_str()], part.segment.header.salt);
        let mut rows = part.rows(&of_key(&part, hash)?)?;
        rows.retain(|row| row.offset > beyond);
        let is_it = |known: &Entry| {
            known.publication.topic() == topic
                && known.publication.key() == Some(key)
                && is_since(milliseconds(known.time), since)
                && !is_erased(known)
        };
        // An erased event has no key any more.
        Ok(part.last_of(&rows, is_it)?.as_ref().map(StoredKey::of))
    }
}

impl KeyLookup {
    /// Whether all keys are looked up.
    pub(crate) fn is_done(&self, batch: &[Publication]) -> bool {
        self.tested == batch.len() && self.candidates.is_empty()
    }

    /// Runs one turn. Returns whether all keys are looked up.
    pub(crate) fn go_on(
        &mut self,
        batch: &[Publication],
        shared: &DiskShared,
    ) -> Result<bool, ReadError> {
        if self.candidates.is_empty() {
            let count = (PROBES / (self.view.sealed.len() + 1)).max(1);
            self.test_filters(&batch[..batch.len().min(self.tested + count)]);
        }
        for _ in 0..LOOKUPS {
            let Some((number, place)) = self.candidates.pop_front() else { break };
            if let Some(name) = name_of(&batch[number])
                && !self.found.contains_key(&number)
                && let Some(known) =
                    shared.newest_in(&self.view, &place, name, 0, self.since, |_| false)?
            {
                self.found.insert(number, known);
            }
        }
        Ok(self.is_done(batch))
    }

    /// Tests the filters with the keys of the publications that come next, up to the end of
    /// `batch`.
    fn test_filters(&mut self, batch: &[Publication]) {
        let keyed = |number: &usize| batch[*number].key().is_some();
        let numbers: Vec<_> = (self.tested..batch.len()).filter(keyed).collect();
        let names = numbers.iter().filter_map(|number| name_of(&batch[*number]));
        let found = candidates(&self.view, names.map(hash_input).collect(), 0, self.since);
        self.candidates.extend(found.into_iter().map(|(at, place)| (numbers[at], place)));
        self.tested = batch.len();
    }
}

/// Whether a key that was stored at this time is still remembered.
pub(crate) fn is_since(time: u64, since: Option<u64>) -> bool {
    since.is_none_or(|since| time > since)
}

/// The segments that may have an entry with one of these keys after an offset, by the number of the
/// key, and the newest first. Each filter is tested with all keys before the next one is: their
/// loads from memory overlap then, and the filter stays in the processor's cache.
fn candidates(
    view: &View,
    names: Vec<HashInput>,
    beyond: Offset,
    since: Option<u64>,
) -> Vec<(usize, Place)> {
    let mut names = HashedTexts::new(HashKind::Key, names);
    if names.is_empty() {
        return Vec::new();
    }
    let is_active = |hash| {
        let last = view.index.of_key(hash, view.entries).last();
        last.is_some_and(|last| view.index.row(last).offset > beyond)
    };
    let (_, hashes, _) = names.hashed(view.index.salt);
    let active = (0..hashes.len()).filter(|number| is_active(hashes[*number]));
    let mut found: Vec<_> = active.map(|number| (number, Place::Active)).collect();
    for sealed in view.sealed.iter().rev().take_while(|sealed| sealed.last_offset() > beyond) {
        if is_since(sealed.summary.newest, since) {
            let numbers = sealed.which_it_may_have(&mut names).into_iter();
            found.extend(numbers.map(|number| (number, Place::Sealed(Arc::clone(sealed)))));
        }
    }
    // A stable sort: the segments of each key keep their order.
    found.sort_by_key(|(number, _)| *number);
    found
}

/// The entries of a segment with this hash of a topic and a key.
fn of_key(part: &SegmentReader, hash: u64) -> Result<Vec<Ordinal>, ReadError> {
    match &part.index {
        SegmentIndex::Memory(index, end) => Ok(index.of_key(hash, *end).into_iter().collect()),
        SegmentIndex::File(file) => file.of_key(hash).map_err(unreadable),
    }
}
