//! The feeds: interned matchers, each with the offsets of the recent entries that match it.
//!
//! Everything here runs under the hub's lock, so nothing takes time by the number of topics or
//! complex patterns. What would is done without the lock: complex patterns are tested before an
//! entry is pushed, and the feed of a new pattern is backfilled when a subscription needs that.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use carafe_log::{Entry, Publication};
use carafe_protocol::{Offset, Topic, TopicMatcher, TopicPattern};
use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::client::Client;
use crate::feeds::backfill::BackfillResult;
use crate::feeds::complex_patterns::{ComplexPatterns, Serial, Tested, Untested};
use crate::feeds::feed_subscribers::FeedSubscribers;
use crate::feeds::pattern_budgets::PatternBudgets;
use crate::feeds::patterns::{PatternTrie, TooManyPatterns, is_complex};
use crate::ids::{FeedId, FeedSlot, SubscriptionId};
use crate::paged_table::PagedTable;

/// Offsets at the end of a feed that are looked at one by one.
const NEAR: usize = 16;

/// How many complex patterns the hub allows.
#[derive(Clone, Copy)]
pub(crate) struct PatternLimits {
    pub(crate) total: usize,
    pub(crate) per_client: usize,
}

/// All feeds: one per topic with recent entries or subscriptions, one per pattern with
/// subscriptions.
pub(crate) struct FeedTable {
    feeds: PagedTable<FeedId, Feed>,
    /// The feeds of topics, by topic. The topic's text is in the feed only.
    by_topic: HashTable<FeedId>,
    hasher: RandomState,
    by_pattern: HashMap<TopicPattern, FeedId>,
    simple: PatternTrie<FeedId>,
    /// Counts the changes of `simple`. A match that was kept under another version is repeated.
    simple_version: u64,
    complex: ComplexPatterns,
    complex_limit: usize,
    budgets: PatternBudgets,
}

/// One interned matcher, shared by all subscriptions with that matcher.
pub(crate) struct Feed {
    matcher: TopicMatcher,
    subscribers: FeedSubscribers,
    /// Quiet topics, of which there may be a million, have none.
    recent: Option<Box<RecentMatches>>,
}

/// The recent entries of a feed.
#[derive(Default)]
struct RecentMatches {
    /// The feed knows every match after this offset.
    since: Offset,
    offsets: VecDeque<Offset>,
    /// For the feed of a topic: the simple patterns that match it.
    matched: Option<MatchedPatterns>,
    /// For the feed of a topic, if there were complex patterns: those that were tested with it.
    tested: Option<Box<Tested>>,
}

/// The feeds of the simple patterns that match a topic.
struct MatchedPatterns {
    version: u64,
    feeds: SmallVec<[FeedId; 2]>,
}

impl FeedTable {
    pub(crate) fn new(limits: PatternLimits) -> Self {
        Self {
            feeds: PagedTable::new(),
            by_topic: HashTable::new(),
            hasher: RandomState::new(),
            by_pattern: HashMap::new(),
            simple: PatternTrie::new(),
            simple_version: 0,
            complex: ComplexPatterns::new(),
            complex_limit: limits.total,
            budgets: PatternBudgets::new(limits.per_client),
        }
    }

    pub(crate) fn get(&self, id: FeedId) -> &Feed {
        &self.feeds[id]
    }

    /// Which patterns have to be tested, and their results [learned](Self::learn), before these
    /// entries are pushed.
    pub(crate) fn untested(&self, entries: &[Arc<Entry>]) -> Option<Untested> {
        if self.complex.is_empty() {
            return None;
        }
        let topics = entries.iter().flat_map(|entry| entry.publication.topics());
        let tested = topics.map(|topic| (topic, self.tested_to(topic)));
        let lacking = tested.filter(|(_, to)| !self.complex.all_tested(*to));
        self.complex.untested(lacking)
    }

    /// Keeps the results of tests with the topics.
    pub(crate) fn learn(&mut self, learned: Vec<(Topic, Tested)>) {
        for (topic, learned) in learned {
            let id = self.topic_feed(&topic);
            let Self { feeds, complex, .. } = self;
            let tested = feeds[id].recent().tested.get_or_insert_default();
            // Serials are never reused, so one without a feed is a removed pattern. Removed here,
            // or a topic with many short-lived patterns would collect them.
            tested.matching.retain(|serial| complex.feed(*serial).is_some());
            learned.matching.into_iter().for_each(|serial| tested.add(serial));
            tested.to = tested.to.max(learned.to);
        }
    }

    /// Adds an entry's offset to every feed that matches, and appends their subscriptions to
    /// `interested`. All complex patterns have been tested with the entry's topics.
    pub(crate) fn push(
        &mut self,
        offset: Offset,
        publication: &Publication,
        interested: &mut impl Extend<SubscriptionId>,
    ) {
        // The complex patterns were tested before (`untested`), so this takes time by what matches
        // only.
        for id in self.matching(publication) {
            let feed = &mut self.feeds[id];
            feed.recent().offsets.push_back(offset);
            feed.subscribers.for_each(|subscription| interested.extend([subscription]));
        }
    }

    /// Removes the oldest entry's offset.
    pub(crate) fn evict(&mut self, offset: Offset, publication: &Publication) {
        for id in self.matching(publication) {
            let offsets = &mut self.feeds[id].recent().offsets;
            // `<=`: what is older than the evicted entry is gone from the ring, too.
            while offsets.front().is_some_and(|oldest| *oldest <= offset) {
                offsets.pop_front();
            }
            self.remove_if_unused(id);
        }
    }

    /// Adds a subscription to the feed of a matcher, which is created if it does not exist.
    pub(crate) fn subscribe(
        &mut self,
        matcher: &TopicMatcher,
        subscription: SubscriptionId,
        client: Option<Client>,
        tail: Offset,
    ) -> Result<(FeedId, FeedSlot), TooManyPatterns> {
        let id = match matcher {
            TopicMatcher::Exact(topic) => self.topic_feed(topic),
            TopicMatcher::Pattern(pattern) => self.pattern_feed(pattern, client, tail)?,
        };
        Ok((id, self.add_subscriber(id, subscription)))
    }

    /// Adds a subscription to a feed that exists.
    pub(crate) fn add_subscriber(&mut self, id: FeedId, subscription: SubscriptionId) -> FeedSlot {
        self.feeds[id].subscribers.insert(subscription)
    }

    /// Removes a subscription; `client` is the one that it was added for.
    pub(crate) fn remove_subscriber(&mut self, id: FeedId, slot: FeedSlot, client: Option<Client>) {
        if let Some(client) = client {
            self.budgets.give_back(client, id);
        }
        self.feeds[id].subscribers.remove(slot);
        self.remove_if_unused(id);
    }

    /// The feeds among these that do not know all entries after an offset, each with the offset
    /// from which on it does.
    pub(crate) fn lacking(
        &self,
        feeds: impl IntoIterator<Item = FeedId>,
        after: Offset,
    ) -> impl Iterator<Item = (FeedId, Offset)> {
        let since = feeds.into_iter().map(|id| (id, self.get(id).since()));
        since.filter(move |(_, since)| *since > after)
    }

    /// Adds older entries to a feed, unless the feed has changed since they were tested.
    pub(crate) fn apply_backfill(&mut self, result: BackfillResult) {
        let BackfillResult { feed: id, until, since, matching } = result;
        if self.feeds.get(id).is_none_or(|feed| feed.since() != until) {
            return;
        }
        let serial = self.complex.serial_of(id);
        for (offset, topics) in matching {
            self.feeds[id].recent().offsets.push_front(offset);
            // The topic has to know the pattern, so that eviction removes the offset again.
            for (serial, topic) in serial.iter().flat_map(|s| topics.iter().map(move |t| (*s, t))) {
                let topic_feed = self.topic_feed(topic);
                self.feeds[topic_feed].recent().tested.get_or_insert_default().add(serial);
            }
        }
        self.feeds[id].recent().since = since;
    }

    /// The feeds that an entry belongs to, each once.
    fn matching(&mut self, publication: &Publication) -> SmallVec<[FeedId; 4]> {
        let mut all = SmallVec::new();
        for topic in publication.topics() {
            let topic_feed = self.topic_feed(topic);
            all.push(topic_feed);
            all.extend(self.matched(topic_feed, topic).iter().copied());
            let tested = self.get(topic_feed).tested();
            let matching = tested.into_iter().flat_map(|tested| &tested.matching);
            all.extend(matching.filter_map(|serial| self.complex.feed(*serial)));
        }
        // Several topics of one entry may match the same pattern: its feed gets the offset once.
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The simple patterns that match a topic, kept until the patterns change.
    fn matched(&mut self, topic_feed: FeedId, topic: &Topic) -> &[FeedId] {
        let matched = &mut self.feeds[topic_feed].recent().matched;
        if matched.as_ref().is_none_or(|matched| matched.version != self.simple_version) {
            let mut feeds = SmallVec::new();
            self.simple.for_each_match(topic.as_str(), |id| feeds.push(id));
            *matched = Some(MatchedPatterns { version: self.simple_version, feeds });
        }
        matched.as_ref().map_or(&[], |matched| &matched.feeds)
    }

    fn tested_to(&self, topic: &Topic) -> Serial {
        let tested = self.find_topic_feed(topic).and_then(|id| self.get(id).tested());
        tested.map_or(0, |tested| tested.to)
    }

    fn find_topic_feed(&self, topic: &Topic) -> Option<FeedId> {
        let hash = self.hasher.hash_one(Some(topic));
        // Hashed as an `Option`, because the rehashing of the table has only the feed, whose topic
        // is optional.
        self.by_topic.find(hash, |id| self.get(*id).topic() == Some(topic)).copied()
    }

    fn topic_feed(&mut self, topic: &Topic) -> FeedId {
        if let Some(id) = self.find_topic_feed(topic) {
            return id;
        }
        // A topic without a feed has no entry in the ring, so a new feed knows all entries.
        let hash = self.hasher.hash_one(Some(topic));
        let id = self.feeds.insert(Feed::new(topic.clone().into()));
        let Self { feeds, by_topic, hasher, .. } = self;
        by_topic.insert_unique(hash, id, |id| hasher.hash_one(feeds[*id].topic()));
        id
    }

    fn unindex_topic(&mut self, id: FeedId) {
        let hash = self.hasher.hash_one(self.get(id).topic());
        if let Ok(found) = self.by_topic.find_entry(hash, |found| *found == id) {
            found.remove();
        }
    }

    fn pattern_feed(
        &mut self,
        pattern: &TopicPattern,
        client: Option<Client>,
        tail: Offset,
    ) -> Result<FeedId, TooManyPatterns> {
        let known = self.by_pattern.get(pattern).copied();
        let complex = is_complex(pattern);
        if complex {
            self.check_limits(known, client)?;
        }
        // After the limits: a rejected pattern leaves nothing behind.
        let id = known.unwrap_or_else(|| self.new_pattern_feed(pattern, complex, tail));
        if let (true, Some(client)) = (complex, client) {
            self.budgets.take(client, id);
        }
        Ok(id)
    }

    fn check_limits(
        &self,
        known: Option<FeedId>,
        client: Option<Client>,
    ) -> Result<(), TooManyPatterns> {
        if client.is_some_and(|client| !self.budgets.has_room(client, known)) {
            return Err(TooManyPatterns::OfClient { limit: self.budgets.limit() });
        }
        if known.is_none() && self.complex.len() >= self.complex_limit {
            return Err(TooManyPatterns::InAll { limit: self.complex_limit });
        }
        Ok(())
    }

    fn new_pattern_feed(&mut self, pattern: &TopicPattern, complex: bool, tail: Offset) -> FeedId {
        let mut feed = Feed::new(pattern.clone().into());
        // A new pattern knows nothing of the entries that are in the ring already.
        feed.recent().since = tail;
        let id = self.feeds.insert(feed);
        self.by_pattern.insert(pattern.clone(), id);
        if complex {
            self.complex.insert(pattern.clone(), id);
        } else {
            self.simple.insert(pattern, id);
            // Invalidates what each topic's feed has kept, without visiting a million of them.
            self.simple_version += 1;
        }
        id
    }

    fn remove_if_unused(&mut self, id: FeedId) {
        let feed = &self.feeds[id];
        if !feed.subscribers.is_empty() {
            return;
        }
        match &feed.matcher {
            TopicMatcher::Exact(_) if feed.offsets().next().is_some() => return,
            TopicMatcher::Exact(_) => self.unindex_topic(id),
            TopicMatcher::Pattern(pattern) => {
                self.by_pattern.remove(pattern);
                if self.complex.serial_of(id).is_some() {
                    self.complex.remove(id);
                } else {
                    self.simple.remove(pattern, id);
                    self.simple_version += 1;
                }
            }
        }
        self.feeds.remove(id);
    }
}

impl Feed {
    fn new(matcher: TopicMatcher) -> Self {
        Self { matcher, subscribers: FeedSubscribers::None, recent: None }
    }

    pub(crate) fn matcher(&self) -> &TopicMatcher {
        &self.matcher
    }

    fn recent(&mut self) -> &mut RecentMatches {
        self.recent.get_or_insert_default()
    }

    fn offsets(&self) -> impl Iterator<Item = Offset> {
        self.recent.iter().flat_map(|recent| recent.offsets.iter().copied())
    }

    fn tested(&self) -> Option<&Tested> {
        self.recent.as_ref()?.tested.as_deref()
    }

    /// The topic, if this is the feed of one.
    fn topic(&self) -> Option<&Topic> {
        match &self.matcher {
            TopicMatcher::Exact(topic) => Some(topic),
            TopicMatcher::Pattern(_) => None,
        }
    }

    /// The feed knows every match after this offset that the ring still has.
    pub(crate) fn since(&self) -> Offset {
        self.recent.as_ref().map_or(0, |recent| recent.since)
    }

    /// The first match after `offset`.
    pub(crate) fn next_after(&self, offset: Offset) -> Option<Offset> {
        let offsets = &self.recent.as_ref()?.offsets;
        offsets.get(first_after(offsets, offset)).copied()
    }
}

/// The index of the first offset after another. Most subscriptions are near the tail: there, a
/// search would touch offsets that are in no cache.
fn first_after(offsets: &VecDeque<Offset>, offset: Offset) -> usize {
    let near_tail = offsets.iter().rev().take(NEAR).take_while(|known| **known > offset).count();
    if near_tail < NEAR {
        return offsets.len() - near_tail;
    }
    // Offsets are sorted: pushes come in order, and a backfill adds older ones at the front,
    // newest first.
    offsets.partition_point(|known| *known <= offset)
}

#[cfg(test)]
mod tests {
    use carafe_protocol::{Generation, Position};

    use super::*;
    use crate::feeds::complex_patterns::TESTS;
    use crate::paged_table::TableKey;

    #[test]
    fn the_first_offset_after_another_is_found_wherever_it_is() {
        for known in 0..2 * NEAR as Offset {
            let offsets: VecDeque<Offset> = (1..=known).map(|number| 3 * number).collect();
            for offset in 0..=3 * known + 1 {
                let expected = offsets.iter().filter(|known| **known <= offset).count();
                assert_eq!(first_after(&offsets, offset), expected, "{offset} among {offsets:?}");
            }
        }
    }

    fn subscription(number: usize) -> SubscriptionId {
        SubscriptionId::from_index(number)
    }

    fn feeds() -> FeedTable {
        FeedTable::new(PatternLimits { total: 1000, per_client: 1000 })
    }

    fn complex(number: usize) -> TopicMatcher {
        TopicPattern::new(&format!("complex-:id/{number}")).unwrap().into()
    }

    fn entry(offset: Offset, topic: &str) -> Arc<Entry> {
        let position = Position { generation: Generation::new(1), offset, nonce: 0 };
        let publication = Publication::new(Topic::new(topic).unwrap(), "");
        Arc::new(Entry { position, time: std::time::UNIX_EPOCH, publication })
    }

    /// Publishes as the hub does. Returns the number of tests and the subscriptions that are woken.
    fn publish(feeds: &mut FeedTable, offset: Offset, topic: &str) -> (usize, Vec<SubscriptionId>) {
        let (entries, before, mut woken) = ([entry(offset, topic)], TESTS.get(), Vec::new());
        while let Some(untested) = feeds.untested(&entries) {
            feeds.learn(untested.test());
        }
        feeds.push(offset, &entries[0].publication, &mut woken);
        (TESTS.get() - before, woken)
    }

    #[test]
    fn a_topic_is_tested_once_with_each_complex_pattern_however_many_are_added_and_removed() {
        let mut feeds = feeds();
        for number in 0..200 {
            feeds.subscribe(&complex(number), subscription(0), None, 0).unwrap();
        }
        assert_eq!(publish(&mut feeds, 1, "complex-a/7"), (200, vec![subscription(0)]));
        assert_eq!(publish(&mut feeds, 2, "complex-a/7"), (0, vec![subscription(0)]));
        for round in 0..100 {
            let (first, member) =
                feeds.subscribe(&complex(1000 + round), subscription(1), None, 0).unwrap();
            let (second, slot) =
                feeds.subscribe(&complex(2000 + round), subscription(2), None, 0).unwrap();
            feeds.remove_subscriber(first, member, None);
            let (tests, woken) = publish(&mut feeds, 3, &format!("complex-a/{}", 2000 + round));
            assert_eq!((tests, woken), (201, vec![subscription(2)]), "a new topic");
            assert_eq!(
                publish(&mut feeds, 3, "complex-a/7"),
                (1, vec![subscription(0)]),
                "the new pattern that was not removed"
            );
            feeds.remove_subscriber(second, slot, None);
            assert_eq!(
                publish(&mut feeds, 3, "complex-a/7"),
                (0, vec![subscription(0)]),
                "removing a pattern costs no test"
            );
        }
    }

    #[test]
    fn opening_and_closing_a_stream_tests_no_topic() {
        let mut feeds = feeds();
        for number in 0..1000 {
            publish(&mut feeds, number, &format!("topic/{number}"));
        }
        let before = TESTS.get();
        for pattern in ["topic/:id", "topic/*", "topic-:id", "topic/(.*)"] {
            let matcher = TopicPattern::new(pattern).unwrap().into();
            let (feed, member) = feeds.subscribe(&matcher, subscription(1), None, 1000).unwrap();
            assert_eq!((feeds.get(feed).since(), feeds.get(feed).offsets().count()), (1000, 0));
            feeds.remove_subscriber(feed, member, None);
        }
        assert_eq!(TESTS.get(), before);
    }

    #[test]
    fn a_topics_results_of_a_removed_pattern_do_not_count_for_the_pattern_that_reuses_its_feed() {
        let mut feeds = feeds();
        let (old, member) = feeds.subscribe(&complex(1), subscription(1), None, 0).unwrap();
        publish(&mut feeds, 1, "complex-a/1");
        feeds.remove_subscriber(old, member, None);
        let (new, _) = feeds.subscribe(&complex(2), subscription(2), None, 1).unwrap();
        assert_eq!(old, new, "the ID is reused");
        assert_eq!(publish(&mut feeds, 2, "complex-a/1").1, [] as [SubscriptionId; 0]);
        assert_eq!(publish(&mut feeds, 3, "complex-a/2").1, [subscription(2)]);
    }
}
