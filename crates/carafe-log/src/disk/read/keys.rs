//! Looks up idempotency keys before a batch reaches the writer.
//!
//! The lookup runs outside the writer: it tests the filters of the sealed segments, and reads the
//! disk only if a filter returns a positive. The writer then checks only the entries that were
//! stored since, which are in memory.

use std::time::SystemTime;

use carafe_protocol::{Offset, Position, Topic};

use crate::disk::format::filter::HashKind;
use crate::disk::format::index::{Ordinal, milliseconds};
use crate::disk::index::file::{SegmentIndex, unreadable};
use crate::disk::read::part::SegmentReader;
use crate::disk::state::DiskShared;
use crate::disk::view::{Place, View};
use crate::{Entry, IdempotencyKey, Publication, ReadError};

/// A key is valid within its topic.
pub(crate) type Name = (Topic, IdempotencyKey);

pub(crate) fn key_of(publication: &Publication) -> Option<Name> {
    publication.key().map(|key| (publication.topic().clone(), key.clone()))
}

/// The result of looking up the keys of a batch.
pub(crate) struct KeyLookup {
    /// The entries with these keys, by the index of the publication in the batch. Empty if no key
    /// is known.
    found: Vec<Option<StoredKey>>,
    /// The offset up to which entries were searched.
    up_to: Offset,
}

#[derive(Clone, Copy)]
struct StoredKey {
    position: Position,
    time: SystemTime,
}

/// The number of filters to test without another turn: some tens of microseconds.
const PROBES: usize = 1024;

/// The number of keys that are looked up on the disk in one turn.
const LOOKUPS: usize = 32;

impl KeyLookup {
    /// A lookup that has found nothing so far.
    pub(crate) fn at_nothing(up_to: Offset) -> Self {
        Self { found: Vec::new(), up_to }
    }
}

impl DiskShared {
    /// Looks up the keys of a batch if that needs neither the disk nor much time.
    pub(crate) fn look_up_at_once(&self, batch: &[Publication]) -> Option<KeyLookup> {
        let view = self.view();
        let keyed = || {
            batch.iter().filter_map(|publication| Some((publication.topic(), publication.key()?)))
        };
        if keyed().count() * (view.sealed.len() + 1) > PROBES {
            return None;
        }
        let since = self.known_since(self.clock.now());
        let may_be_known = |(topic, key)| !places_of(&view, topic, key, 0, since).is_empty();
        (!keyed().any(may_be_known)).then(|| KeyLookup::at_nothing(view.tail.offset))
    }

    /// Starts a lookup of the keys of a batch.
    pub(crate) fn look_up(&self) -> KeyLookup {
        KeyLookup::at_nothing(self.view().tail.offset)
    }

    /// The time in milliseconds since 1970 after which stored keys are still remembered.
    fn known_since(&self, now: SystemTime) -> Option<u64> {
        let window = u64::try_from(self.key_window.as_millis()).unwrap_or(u64::MAX);
        milliseconds(now).checked_sub(window)
    }

    /// The position of the entry that a publication of a batch repeats.
    pub(crate) fn known(
        &self,
        (topic, key): &Name,
        number: usize,
        looked: &KeyLookup,
        now: SystemTime,
    ) -> Result<Option<Position>, ReadError> {
        let (view, since) = (self.view(), self.known_since(now));
        if let Some(Some(known)) = looked.found.get(number)
            && known.position.offset > view.start().offset
            && is_since(milliseconds(known.time), since)
        {
            return Ok(Some(known.position));
        }
        let known = self.first_known(&view, topic, key, looked.up_to, since)?;
        Ok(known.map(|known| known.position))
    }

    /// The first entry after an offset that has this key and was stored recently enough.
    fn first_known(
        &self,
        view: &View,
        topic: &Topic,
        key: &IdempotencyKey,
        beyond: Offset,
        since: Option<u64>,
    ) -> Result<Option<StoredKey>, ReadError> {
        for place in places_of(view, topic, key, beyond, since) {
            let part = match self.part(view, &place) {
                Err(ReadError::Trimmed { .. }) => continue,
                part => part?,
            };
            let mut rows = part.rows(&of_topic_and_key(&part, topic, key)?)?;
            rows.retain(|row| row.offset > beyond);
            let is_it = |known: &Entry| {
                known.publication.topic() == topic
                    && known.publication.key() == Some(key)
                    && is_since(milliseconds(known.time), since)
            };
            if let Some(Entry { position, time, .. }) = part.segment.first_of(&rows, is_it)? {
                return Ok(Some(StoredKey { position, time }));
            }
        }
        Ok(None)
    }
}

impl KeyLookup {
    /// Runs one turn. Returns whether all keys are looked up.
    pub(crate) fn go_on(
        &mut self,
        batch: &[Publication],
        shared: &DiskShared,
    ) -> Result<bool, ReadError> {
        let (view, since) = (shared.view(), shared.known_since(shared.clock.now()));
        let (mut probes, mut lookups) = (0, 0);
        while let Some(publication) = batch.get(self.found.len()) {
            if probes > PROBES || lookups > LOOKUPS {
                return Ok(false);
            }
            let Some(key) = publication.key() else {
                self.found.push(None);
                continue;
            };
            probes += view.sealed.len() + 1;
            let known = shared.first_known(&view, publication.topic(), key, 0, since)?;
            lookups += usize::from(known.is_some());
            self.found.push(known);
        }
        Ok(true)
    }
}

fn is_since(time: u64, since: Option<u64>) -> bool {
    since.is_none_or(|since| time > since)
}

/// The segments that may have an entry with this topic and key after an offset, the newest first:
/// publishers usually repeat recent events.
fn places_of(
    view: &View,
    topic: &Topic,
    key: &IdempotencyKey,
    beyond: Offset,
    since: Option<u64>,
) -> Vec<Place> {
    let mut places = Vec::new();
    let active = view.index.of_topic_and_key(topic, key, view.entries);
    if active.last().is_some_and(|last| view.index.row(last).offset > beyond) {
        places.push(Place::Active);
    }
    let texts = [topic.as_str(), key.as_str()];
    for sealed in view.sealed.iter().rev().take_while(|sealed| sealed.last_offset() > beyond) {
        if is_since(sealed.summary.newest, since) && sealed.may_have(HashKind::Key, &texts) {
            places.push(Place::Sealed(sealed.clone()));
        }
    }
    places
}

fn of_topic_and_key(
    part: &SegmentReader,
    topic: &Topic,
    key: &IdempotencyKey,
) -> Result<Vec<Ordinal>, ReadError> {
    match &part.index {
        SegmentIndex::Memory(index, end) => {
            Ok(index.of_topic_and_key(topic, key, *end).into_iter().collect())
        }
        SegmentIndex::File(file) => file.of_topic_and_key(topic, key).map_err(unreadable),
    }
}
