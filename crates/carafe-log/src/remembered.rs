//! The keys of entries that a supplied log has trimmed, as long as they decide over what comes.
//!
//! Nodes that share a log decide alike only if all of them know the same keys, however much history
//! each of them keeps.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carafe_protocol::{Offset, Position, Topic};

use crate::erasures::has_content;
use crate::{Clock, Entry, Erasures, IdempotencyKey};

/// By how much the time of a commit may be behind that of one before it.
const SKEW: Duration = Duration::from_secs(60 * 60);

/// The time up to which nothing decides any more over what is stored next.
///
/// The commits that are supplied next may be older than the clock says: they may come late, and
/// their times may go back.
pub(crate) fn decides_since(clock: &Clock, key_window: Duration) -> SystemTime {
    let last = clock.last_supplied();
    let last = last.map(|last| last.checked_sub(SKEW).unwrap_or(UNIX_EPOCH));
    let newest = last.unwrap_or_else(|| clock.now());
    newest.checked_sub(key_window).unwrap_or(UNIX_EPOCH)
}

/// Keys of trimmed entries. A key takes about 100 bytes, however long it is.
#[derive(Default)]
pub(crate) struct Remembered {
    hashes: Hashes,
    keys: HashMap<Hash, Trimmed>,
    /// The topics of those that have several.
    topics: HashMap<Hash, Arc<[Topic]>>,
    /// The offsets of all, in order. An older entry may have the key of a newer one.
    order: VecDeque<(Offset, Hash)>,
    /// What was erased since.
    erasures: Erasures,
    /// How often something was to expire since the erasures were looked through.
    turns: usize,
    /// Whether keys of entries are being read, of which some may be erased meanwhile.
    awaits_keys: bool,
}

/// The hash of a topic and a key. Nobody finds two keys with the same hash: it has 128 bits, and
/// depends on a secret of the process.
type Hash = [u64; 2];

#[derive(Default)]
struct Hashes([RandomState; 2]);

impl Hashes {
    fn of(&self, topic: &Topic, key: &IdempotencyKey) -> Hash {
        self.0.each_ref().map(|state| state.hash_one((topic, key)))
    }
}

/// A trimmed entry.
#[derive(Clone, Copy)]
struct Trimmed {
    position: Position,
    time: SystemTime,
    /// Whether an erasure takes something from it, and so frees its key.
    has_content: bool,
}

impl Remembered {
    /// Takes the key of an entry that is trimmed, and that is newer than those before.
    pub(crate) fn add(&mut self, entry: &Entry) {
        let publication = &entry.publication;
        let Some(key) = publication.key() else { return };
        let hash = self.hashes.of(publication.topic(), key);
        let has_content = has_content(publication);
        let trimmed = Trimmed { position: entry.position, time: entry.time, has_content };
        self.keys.insert(hash, trimmed);
        self.order.push_back((entry.offset(), hash));
        if publication.topics().nth(1).is_some() {
            self.topics.insert(hash, publication.topics().cloned().collect());
        } else {
            self.topics.remove(&hash);
        }
    }

    /// The position and the time of the entry that has a key, unless it was erased since.
    pub(crate) fn find(
        &self,
        topic: &Topic,
        key: &IdempotencyKey,
    ) -> Option<(Position, SystemTime)> {
        let found = self.keys.get(&self.hashes.of(topic, key))?;
        let is_free = self.is_erased_by(&self.erasures, topic, key);
        (!is_free).then_some((found.position, found.time))
    }

    /// Whether erasures free a key.
    pub(crate) fn is_erased_by(
        &self,
        erasures: &Erasures,
        topic: &Topic,
        key: &IdempotencyKey,
    ) -> bool {
        if erasures.is_empty() {
            return false;
        }
        let hash = self.hashes.of(topic, key);
        let Some(known) = self.keys.get(&hash).filter(|known| known.has_content) else {
            return false;
        };
        let others = self.topics.get(&hash).map_or(&[][..], |topics| topics);
        erasures.cover(known.position, [topic].into_iter().chain(others))
    }

    /// Keys are about to be read, or were read: what is erased meanwhile counts for them.
    pub(crate) fn await_keys(&mut self, awaits_keys: bool) {
        self.awaits_keys = awaits_keys;
    }

    /// Takes notice of an entry that may be an erasure.
    pub(crate) fn erase(&mut self, entry: &Entry) {
        if self.awaits_keys || !self.keys.is_empty() {
            self.erasures.add(entry);
        }
    }

    /// Forgets what is as old as this, or older.
    pub(crate) fn expire(&mut self, since: SystemTime) {
        while let Some((offset, hash)) = self.order.front() {
            let known = self.keys.get(hash).filter(|known| known.position.offset == *offset);
            if known.is_some_and(|known| known.time > since) {
                break;
            }
            if known.is_some() {
                self.keys.remove(hash);
                self.topics.remove(hash);
            }
            self.order.pop_front();
        }
        self.trim_erasures();
    }

    /// Forgets erasures of what has expired. This looks at all erasures, so it is done once in as
    /// many turns.
    fn trim_erasures(&mut self) {
        self.turns += 1;
        let is_early = self.turns < self.erasures.len() && !self.order.is_empty();
        if self.erasures.is_empty() || self.awaits_keys || is_early {
            return;
        }
        self.turns = 0;
        let oldest = self.order.front().map_or(Offset::MAX, |(offset, _)| *offset);
        self.erasures.trim(oldest.saturating_sub(1));
    }

    /// The number of keys and erasures.
    pub(crate) fn len(&self) -> usize {
        self.keys.len() + self.erasures.len()
    }
}

#[cfg(test)]
mod tests {
    use carafe_protocol::Generation;

    use super::*;
    use crate::{Erase, Publication};

    fn topic(text: &str) -> Topic {
        Topic::new(text).unwrap()
    }

    fn key(text: &str) -> IdempotencyKey {
        IdempotencyKey::new(text).unwrap()
    }

    fn at(offset: Offset, publication: Publication) -> Entry {
        let position = Position { generation: Generation::new(7), offset, nonce: 1 };
        Entry { position, time: UNIX_EPOCH + Duration::from_secs(offset), publication }
    }

    fn keyed(offset: Offset, to: &str, with: &str) -> Entry {
        at(offset, Publication::new(topic(to), "data").with_key(key(with)))
    }

    fn found(remembered: &Remembered, to: &str, with: &str) -> Option<Offset> {
        remembered.find(&topic(to), &key(with)).map(|(position, _)| position.offset)
    }

    #[test]
    fn a_key_is_known_within_its_topic_until_it_expires() {
        let mut remembered = Remembered::default();
        for offset in 1..=100 {
            remembered.add(&keyed(offset, "a", &offset.to_string()));
        }
        remembered.add(&at(101, Publication::new(topic("a"), "without a key")));
        assert_eq!((found(&remembered, "a", "7"), found(&remembered, "b", "7")), (Some(7), None));
        remembered.expire(UNIX_EPOCH + Duration::from_secs(40));
        assert_eq!(
            (found(&remembered, "a", "40"), found(&remembered, "a", "41")),
            (None, Some(41))
        );
        assert_eq!((remembered.len(), remembered.order.len()), (60, 60));
    }

    #[test]
    fn the_newest_entry_has_a_key_that_was_used_again() {
        let mut remembered = Remembered::default();
        remembered.add(&keyed(1, "a", "k"));
        remembered.add(&keyed(5, "a", "k"));
        assert_eq!(found(&remembered, "a", "k"), Some(5));
        remembered.expire(UNIX_EPOCH + Duration::from_secs(1));
        assert_eq!((found(&remembered, "a", "k"), remembered.len()), (Some(5), 1));
        remembered.expire(UNIX_EPOCH + Duration::from_secs(5));
        assert_eq!((remembered.len(), remembered.order.len()), (0, 0));
    }

    #[test]
    fn an_erasure_frees_keys_of_its_topics_and_event_alone() {
        let mut remembered = Remembered::default();
        let erasure = Publication::erase(topic("a"), Erase::Before).with_key(key("erasure"));
        remembered.add(&at(1, erasure));
        remembered.add(&keyed(2, "a", "k"));
        let alternate = keyed(3, "b", "k").publication.with_alternates([topic("a")]);
        remembered.add(&at(3, alternate));
        remembered.add(&keyed(4, "c", "one"));
        remembered.add(&keyed(5, "c", "other"));
        let erasure = at(8, Publication::erase(topic("a"), Erase::Before));
        let mut of_commit = Erasures::default();
        of_commit.add(&erasure);
        assert!(remembered.is_erased_by(&of_commit, &topic("b"), &key("k")));
        assert_eq!(found(&remembered, "b", "k"), Some(3), "only within the commit");
        remembered.erase(&erasure);
        remembered.erase(&at(9, Publication::erase(topic("c"), Erase::One(4))));
        assert_eq!(found(&remembered, "a", "erasure"), Some(1), "nothing of it is erased");
        assert_eq!((found(&remembered, "a", "k"), found(&remembered, "b", "k")), (None, None));
        assert_eq!(
            (found(&remembered, "c", "one"), found(&remembered, "c", "other")),
            (None, Some(5))
        );
        remembered.add(&keyed(10, "a", "k"));
        assert_eq!(found(&remembered, "a", "k"), Some(10), "a later event has the key");
        remembered.expire(UNIX_EPOCH + Duration::from_secs(10));
        assert_eq!(remembered.len(), 0, "erasures are forgotten with the last key");
    }

    #[test]
    fn an_erasure_frees_keys_that_are_being_read() {
        let mut remembered = Remembered::default();
        remembered.await_keys(true);
        remembered.erase(&at(9, Publication::erase(topic("a"), Erase::Before)));
        remembered.expire(UNIX_EPOCH);
        remembered.add(&keyed(1, "a", "k"));
        remembered.await_keys(false);
        assert_eq!(found(&remembered, "a", "k"), None);
        // Before any is read, there is nothing that it could free.
        let mut remembered = Remembered::default();
        remembered.erase(&at(9, Publication::erase(topic("a"), Erase::Before)));
        assert_eq!(remembered.len(), 0);
    }
}
