//! Erasures that hold while what they erase may still be stored.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::time::SystemTime;

use carafe_protocol::{Offset, Position, Topic};

use crate::{Entry, Erase, Kind, Publication};

/// Erasures, and the question whether one of them erases an entry.
///
/// A log has one for the erasures whose entries it may still store. A hub has one for those whose
/// entries it may still hold. It is immutable where it is shared: a clone shares its parts, and a
/// change copies one of them.
///
/// ```
/// use std::time::SystemTime;
///
/// use carafe_log::{Entry, Erase, Erasures, Publication};
/// use carafe_protocol::{Position, Topic};
///
/// let topic = Topic::new("users/7")?;
/// let entry = |text: &str, publication| {
///     let position: Position = text.parse().unwrap();
///     Entry { position, time: SystemTime::now(), publication }
/// };
/// let event = entry("000000000001-1-00000003", Publication::new(topic.clone(), "secret"));
/// let erasure = entry("000000000001-2-00000004", Publication::erase(topic, Erase::Before));
///
/// let mut erasures = Erasures::default();
/// erasures.add(&erasure);
/// assert!(erasures.covers(&event));
/// assert_eq!(event.erased().data(), "");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Erasures {
    topics: Parts<Topic>,
    /// By the offset of the erased event.
    ones: Parts<Offset>,
    /// Those of events whose nonce is known, too, which are all part of `ones`.
    events: Parts<(Offset, Nonce)>,
    /// The newest erasure: no later entry is erased.
    newest: Offset,
}

/// The nonce of an erased event. `None`: whatever it is.
type Nonce = Option<u32>;

/// What is known of the erasures of a topic, or of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Erased {
    /// Entries before this offset are erased. It is that of the newest erasure.
    pub(crate) before: Offset,
    /// The time of the oldest erasure.
    pub(crate) since: SystemTime,
}

impl Erasures {
    /// Adds an entry, if it is an erasure. Returns whether it is one.
    pub fn add(&mut self, entry: &Entry) -> bool {
        let Kind::Erase(erase) = entry.publication.kind() else { return false };
        let (before, since) = (entry.offset(), entry.time);
        match erase {
            Erase::Before => self.topics.add(entry.topic(), before, since),
            Erase::One(offset) => self.add_event((offset, None), before, since),
            Erase::Event { offset, nonce } => {
                self.add_event((offset, Some(nonce)), before, since);
            }
        }
        self.newest = self.newest.max(before);
        true
    }

    fn add_event(&mut self, event: (Offset, Nonce), before: Offset, since: SystemTime) {
        self.ones.add(&event.0, before, since);
        self.events.add(&event, before, since);
    }

    /// Whether the content of an entry is erased: by an erasure of one of its topics after it, or
    /// by one of the event alone.
    #[must_use]
    pub fn covers(&self, entry: &Entry) -> bool {
        entry.offset() < self.newest
            && has_content(&entry.publication)
            && self.cover(entry.position, entry.publication.topics())
    }

    /// Whether the event at this position was erased alone.
    fn erases_event(&self, position: Position) -> bool {
        let Position { offset, nonce, .. } = position;
        self.erases_one(offset)
            && [None, Some(nonce)].into_iter().any(|nonce| {
                let erased = self.events.get(&(offset, nonce));
                erased.is_some_and(|erased| offset < erased.before)
            })
    }

    /// Whether an entry of these topics is erased.
    pub(crate) fn cover<'a>(
        &self,
        position: Position,
        mut topics: impl Iterator<Item = &'a Topic>,
    ) -> bool {
        self.erases_event(position) || topics.any(|topic| self.erases_in(topic, position.offset))
    }

    /// The entry as it may be read: without its content, if it is erased.
    pub(crate) fn apply(&self, entry: Entry) -> Entry {
        if self.covers(&entry) { entry.erased() } else { entry }
    }

    /// Whether there is no erasure.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of erased topics and events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.topics.len + self.events.len
    }

    /// The offset of the newest erasure.
    pub(crate) fn newest(&self) -> Offset {
        self.newest
    }

    /// The time of the oldest erasure.
    pub(crate) fn since(&self) -> Option<SystemTime> {
        let topics = self.topics.iter().map(|(_, erased)| erased.since);
        topics.chain(self.ones.iter().map(|(_, erased)| erased.since)).min()
    }

    /// The offset before which all entries of a topic are erased.
    pub(crate) fn before(&self, topic: &Topic) -> Option<Offset> {
        self.topics.get(topic).map(|erased| erased.before)
    }

    /// Whether an event of a topic is erased with all that were before an offset.
    pub(crate) fn erases_in(&self, topic: &Topic, offset: Offset) -> bool {
        self.before(topic).is_some_and(|before| offset < before)
    }

    /// Whether an event with this offset was erased alone. If the nonce of the erasure is another
    /// one, the event stays, and searches pass over it only until the erasure is carried out.
    pub(crate) fn erases_one(&self, offset: Offset) -> bool {
        self.ones.get(&offset).is_some_and(|erased| offset < erased.before)
    }

    /// The erased topics.
    pub(crate) fn topics(&self) -> impl Iterator<Item = (&Topic, Erased)> {
        self.topics.iter()
    }

    /// The offsets of events that were erased alone.
    pub(crate) fn ones(&self) -> impl Iterator<Item = (Offset, Erased)> {
        self.ones.iter().map(|(offset, erased)| (*offset, erased))
    }

    /// Forgets the erasures up to an offset: no entry before them is stored any more.
    pub fn trim(&mut self, start: Offset) {
        if self.newest <= start {
            return *self = Self::default();
        }
        self.topics.retain(|_, erased| erased.before > start);
        self.ones.retain(|offset, _| *offset > start);
        self.events.retain(|(offset, _), _| *offset > start);
    }

    /// Forgets erasures that have been carried out, unless their topic was erased again since.
    pub(crate) fn forget(&mut self, done: &Self) {
        self.topics.retain(|topic, erased| done.topics.get(topic).is_none_or(|it| it != erased));
        self.ones.retain(|offset, erased| done.ones.get(offset).is_none_or(|it| it != erased));
        self.events.retain(|event, erased| done.events.get(event).is_none_or(|it| it != erased));
    }
}

/// Whether an erasure would take something. An end without a reason only says how its
/// topic ended.
pub(crate) fn has_content(publication: &Publication) -> bool {
    match publication.kind() {
        Kind::Event => true,
        Kind::End(_) | Kind::Stop => {
            let event = publication.event();
            !publication.data().is_empty()
                || event.event_type().is_some()
                || event.retry_time().is_some()
                || publication.external_id().is_some()
        }
        // A compacted event has its ID.
        Kind::Removed(_) => publication.external_id().is_some(),
        Kind::Erase(_) => false,
    }
}

/// The number of parts of a table. A change of a table that is shared copies one of them.
const PARTS: usize = 64;

/// A table in parts that its clones share.
#[derive(Clone, Debug)]
struct Parts<K> {
    /// Empty without rows.
    parts: Box<[Arc<HashMap<K, Erased>>]>,
    hasher: RandomState,
    len: usize,
}

impl<K> Default for Parts<K> {
    fn default() -> Self {
        Self { parts: Box::default(), hasher: RandomState::new(), len: 0 }
    }
}

impl<K: Clone + Eq + Hash> Parts<K> {
    fn get(&self, key: &K) -> Option<Erased> {
        if self.len == 0 { None } else { self.parts[self.part(key)].get(key).copied() }
    }

    fn part(&self, key: &K) -> usize {
        self.hasher.hash_one(key) as usize % PARTS
    }

    fn add(&mut self, key: &K, before: Offset, since: SystemTime) {
        if self.parts.is_empty() {
            self.parts = (0..PARTS).map(|_| Arc::default()).collect();
        }
        let part = Arc::make_mut(&mut self.parts[self.hasher.hash_one(key) as usize % PARTS]);
        match part.get_mut(key) {
            Some(erased) => erased.before = erased.before.max(before),
            None => {
                part.insert(key.clone(), Erased { before, since });
                self.len += 1;
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&K, Erased)> {
        self.parts.iter().flat_map(|part| part.iter()).map(|(key, erased)| (key, *erased))
    }

    fn retain(&mut self, mut keeps: impl FnMut(&K, Erased) -> bool) {
        for part in &mut self.parts {
            // Most parts stay as they are, and are not copied.
            if part.iter().all(|(key, erased)| keeps(key, *erased)) {
                continue;
            }
            Arc::make_mut(part).retain(|key, erased| keeps(key, *erased));
        }
        self.len = self.parts.iter().map(|part| part.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use carafe_protocol::Generation;

    use super::*;

    fn entry(offset: Offset, publication: Publication) -> Entry {
        let position = Position { generation: Generation::new(7), offset, nonce: 1 };
        Entry { position, time: UNIX_EPOCH + Duration::from_secs(offset), publication }
    }

    fn topic(name: &str) -> Topic {
        Topic::new(name).unwrap()
    }

    fn event(offset: Offset, name: &str) -> Entry {
        entry(offset, Publication::new(topic(name), "data"))
    }

    fn erasures(erased: &[(Offset, &str, Erase)]) -> Erasures {
        let mut erasures = Erasures::default();
        for (offset, name, erase) in erased {
            assert!(erasures.add(&entry(*offset, Publication::erase(topic(name), *erase))));
        }
        erasures
    }

    #[test]
    fn an_event_is_erased_by_any_of_its_topics_and_by_its_offset() {
        let erasures = erasures(&[(5, "a", Erase::Before), (9, "b", Erase::One(7))]);
        let covered = |entry: &Entry| erasures.covers(entry);
        assert!(covered(&event(4, "a")) && !covered(&event(6, "a")), "later events stay");
        assert!(covered(&event(7, "b")) && !covered(&event(4, "b")));
        let several = Publication::new(topic("b"), "").with_alternates([topic("a")]);
        assert!(covered(&entry(3, several)));
        assert_eq!(erasures.since(), Some(UNIX_EPOCH + Duration::from_secs(5)));
    }

    #[test]
    fn an_event_with_another_nonce_is_not_the_one_that_was_erased() {
        let event_of = |nonce| Erase::Event { offset: 7, nonce };
        let of_lost = erasures(&[(9, "b", event_of(2))]);
        assert!(!of_lost.covers(&event(7, "b")) && !of_lost.covers(&event(7, "a")));
        let of_both = erasures(&[(9, "b", event_of(2)), (10, "b", event_of(1))]);
        assert!(of_both.covers(&event(7, "b")));
        assert_eq!((of_lost.len(), of_both.len()), (1, 2));
        let mut all = of_both.clone();
        all.forget(&of_both);
        assert!(all.is_empty() && !all.covers(&event(7, "b")));
    }

    #[test]
    fn a_topic_that_is_erased_again_is_erased_since_the_first_time() {
        let erasures = erasures(&[(5, "a", Erase::Before), (9, "a", Erase::Before)]);
        assert_eq!(erasures.len(), 1);
        assert!(erasures.covers(&event(8, "a")));
        assert_eq!(erasures.since(), Some(UNIX_EPOCH + Duration::from_secs(5)));
    }

    #[test]
    fn a_clone_keeps_what_the_original_forgets() {
        let mut all = erasures(&[(5, "a", Erase::Before), (6, "b", Erase::Before)]);
        let done = all.clone();
        all.add(&entry(9, Publication::erase(topic("a"), Erase::Before)));
        all.forget(&done);
        assert_eq!(all.topics().map(|(topic, _)| topic.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(done.len(), 2);
    }

    #[test]
    fn erasures_of_trimmed_entries_are_forgotten() {
        let mut all = erasures(&[(5, "a", Erase::Before), (9, "b", Erase::Before)]);
        all.add(&entry(10, Publication::erase(topic("c"), Erase::One(4))));
        all.trim(5);
        assert_eq!(all.topics().map(|(topic, _)| topic.as_str()).collect::<Vec<_>>(), ["b"]);
        assert_eq!(all.len(), 1);
        all.trim(10);
        assert!(all.is_empty());
    }
}
