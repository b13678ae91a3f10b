//! The keys of entries that a supplied log has trimmed, as long as they decide over what comes.
//!
//! Nodes that share a log decide alike only if all of them know the same keys, however much history
//! each of them keeps.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carafe_protocol::{Offset, Position, Topic};

use crate::erasures::has_content;
use crate::key_table::KeyTable;
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

/// The time of an entry up to which neither it nor any entry before it decides any more: those may
/// be younger than it.
pub(crate) fn settled_up_to(clock: &Clock, key_window: Duration) -> SystemTime {
    decides_since(clock, key_window).checked_sub(SKEW).unwrap_or(UNIX_EPOCH)
}

/// Keys of trimmed entries. A key takes about 100 bytes, however long it is.
#[derive(Default)]
pub(crate) struct Remembered {
    hashes: Hashes,
    keys: KeyTable<Hash, Trimmed>,
    /// The topics of those entries that have several.
    topics: HashMap<Offset, Box<[Topic]>>,
    /// The offsets of all entries, in order.
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

impl Trimmed {
    /// Whether erasures erase it. `topics` has the topics of entries that have several.
    fn is_erased(
        &self,
        erasures: &Erasures,
        topic: &Topic,
        topics: &HashMap<Offset, Box<[Topic]>>,
    ) -> bool {
        let is_erased = || {
            let others = topics.get(&self.position.offset).map_or(&[][..], |topics| topics);
            erasures.cover(self.position, [topic].into_iter().chain(others))
        };
        self.has_content && !erasures.is_empty() && is_erased()
    }
}

impl Remembered {
    /// Takes the key of an entry that is trimmed. It may come again, and events of the hub may come
    /// before older entries.
    pub(crate) fn add(&mut self, entry: &Entry) {
        let (publication, offset) = (&entry.publication, entry.offset());
        let (topic, Some(key)) = (publication.topic(), publication.key()) else { return };
        let at = self.order.partition_point(|(known, _)| *known < offset);
        if self.order.get(at).is_some_and(|(known, _)| *known == offset) {
            return;
        }
        let hash = self.hashes.of(topic, key);
        self.order.insert(at, (offset, hash));
        if publication.topics().nth(1).is_some() {
            self.topics.insert(offset, publication.topics().cloned().collect());
        }
        let has_content = has_content(publication);
        let trimmed = Trimmed { position: entry.position, time: entry.time, has_content };
        let (topics, erasures) = (&self.topics, &self.erasures);
        self.keys.add(hash, offset, trimmed, |_, known| known.is_erased(erasures, topic, topics));
    }

    /// The position and the time of the entry that has a key, unless it was erased since, or
    /// `erasures` erase it.
    pub(crate) fn find(
        &self,
        topic: &Topic,
        key: &IdempotencyKey,
        erasures: &Erasures,
    ) -> Option<(Position, SystemTime)> {
        let hash = self.hashes.of(topic, key);
        let is_erased_by =
            |erasures, known: &Trimmed| known.is_erased(erasures, topic, &self.topics);
        let is_erased =
            |known: &Trimmed| is_erased_by(&self.erasures, known) || is_erased_by(erasures, known);
        let mut known = self.keys.of(&hash).map(|(_, known)| known);
        known.find(|known| !is_erased(known)).map(|known| (known.position, known.time))
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
            if self.keys.of(hash).any(|(at, known)| at == *offset && known.time > since) {
                break;
            }
            self.keys.remove(hash, *offset);
            self.topics.remove(offset);
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
        self.order.len() + self.erasures.len()
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
        remembered
            .find(&topic(to), &key(with), &Erasures::default())
            .map(|(position, _)| position.offset)
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
    fn an_older_entry_has_the_key_of_a_newer_one_that_is_erased() {
        let mut remembered = Remembered::default();
        let alternate = keyed(1, "a", "k").publication.with_alternates([topic("b")]);
        remembered.add(&at(1, alternate));
        remembered.add(&keyed(5, "a", "k"));
        remembered.erase(&at(9, Publication::erase(topic("a"), Erase::One(5))));
        assert_eq!(found(&remembered, "a", "k"), Some(1));
        let mut of_commit = Erasures::default();
        of_commit.add(&at(10, Publication::erase(topic("b"), Erase::Before)));
        assert_eq!(remembered.find(&topic("a"), &key("k"), &of_commit), None);
        remembered.add(&keyed(11, "a", "k"));
        assert_eq!(found(&remembered, "a", "k"), Some(11));
        remembered.expire(UNIX_EPOCH + Duration::from_secs(11));
        assert_eq!(remembered.len(), 0);
        assert!(remembered.keys.is_empty() && remembered.topics.is_empty());
    }

    #[test]
    fn keys_come_in_any_order_and_more_than_once() {
        let mut remembered = Remembered::default();
        for offset in [50, 200, 51, 200, 50] {
            remembered.add(&keyed(offset, "a", &offset.to_string()));
        }
        let erasure = Publication::erase(topic("a"), Erase::One(51));
        remembered.erase(&at(201, erasure));
        assert_eq!(remembered.len(), 3 + 1);
        remembered.expire(UNIX_EPOCH + Duration::from_secs(50));
        assert_eq!(found(&remembered, "a", "51"), None, "its erasure is not forgotten before it");
        assert_eq!(found(&remembered, "a", "200"), Some(200));
        remembered.expire(UNIX_EPOCH + Duration::from_secs(200));
        assert_eq!(remembered.len(), 0);
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
        assert_eq!(remembered.find(&topic("b"), &key("k"), &of_commit), None);
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
