//! Interned matchers and the offsets of recent entries that match them.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use carafe_log::{Entry, Publication};
use carafe_protocol::{Offset, Topic, TopicMatcher, TopicPattern};
use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::Client;
use crate::budgets::Budgets;
use crate::ids::{FeedId, FeedSlot, SubscriptionId};
use crate::members::Members;
use crate::older::Matching;
use crate::paged_table::PagedTable;
use crate::patterns::{Patterns, TooMany, is_complex};
use crate::scanned::{Scanned, Tested, Untested};

/// How many complex patterns there may be.
#[derive(Clone, Copy)]
pub(crate) struct PatternLimits {
    pub(crate) in_all: usize,
    pub(crate) per_client: usize,
}

/// All feeds: one per topic with recent entries or subscribers, one per pattern with subscribers.
///
/// All this is done under the hub's lock, so nothing here takes time by how many topics or complex
/// patterns there are. What does is done without the lock: complex patterns are tested before an
/// entry is pushed, and what a new pattern's feed has to know of older entries is looked for when
/// somebody needs it.
pub(crate) struct Feeds {
    feeds: PagedTable<FeedId, Feed>,
    /// By the topics of their feeds, which have the text.
    exact: HashTable<FeedId>,
    hasher: RandomState,
    by_pattern: HashMap<TopicPattern, FeedId>,
    simple: Patterns<FeedId>,
    /// Counts changes of `simple`; what was matched under another number is matched again.
    version: u64,
    complex: Scanned,
    complex_limit: usize,
    budgets: Budgets,
}

/// One interned matcher, shared by all who want it.
pub(crate) struct Feed {
    matcher: TopicMatcher,
    members: Members,
    /// Quiet topics, of which there may be a million, have none.
    recent: Option<Box<Recent>>,
}

/// What there is of a feed for which something was published.
#[derive(Default)]
struct Recent {
    /// The feed knows every match after this offset.
    since: Offset,
    offsets: VecDeque<Offset>,
    /// Of an exact feed.
    matched: Option<Matched>,
    /// Of an exact feed, if there were complex patterns.
    tested: Option<Box<Tested>>,
}

/// The feeds of simple patterns that a topic matches.
struct Matched {
    /// Of the patterns.
    version: u64,
    feeds: SmallVec<[FeedId; 2]>,
}

impl Feeds {
    pub(crate) fn new(limits: PatternLimits) -> Self {
        Self {
            feeds: PagedTable::new(),
            exact: HashTable::new(),
            hasher: RandomState::new(),
            by_pattern: HashMap::new(),
            simple: Patterns::new(),
            version: 0,
            complex: Scanned::new(),
            complex_limit: limits.in_all,
            budgets: Budgets::new(limits.per_client),
        }
    }

    pub(crate) fn get(&self, id: FeedId) -> &Feed {
        &self.feeds[id]
    }

    /// What has to be tested and [learned](Self::learn) before these entries are pushed.
    pub(crate) fn untested(&self, entries: &[Arc<Entry>]) -> Option<Untested> {
        if self.complex.is_empty() {
            return None;
        }
        let topics = entries.iter().flat_map(|entry| entry.publication.topics());
        let tested = topics.map(|topic| (topic, self.tested_to(topic)));
        let lacking = tested.filter(|(_, to)| !self.complex.knows_all(*to));
        self.complex.untested(lacking)
    }

    /// Keeps what was tested.
    pub(crate) fn learn(&mut self, learned: Vec<(Topic, Tested)>) {
        for (topic, learned) in learned {
            let id = self.exact(&topic);
            let Self { feeds, complex, .. } = self;
            let tested = feeds[id].recent().tested.get_or_insert_default();
            tested.matching.retain(|serial| complex.feed(*serial).is_some());
            learned.matching.into_iter().for_each(|serial| tested.add(serial));
            tested.to = tested.to.max(learned.to);
        }
    }

    /// Adds an entry's offset to every feed that matches, and names their members. All complex
    /// patterns have been tested.
    pub(crate) fn push(
        &mut self,
        offset: Offset,
        publication: &Publication,
        woken: &mut Vec<SubscriptionId>,
    ) {
        for id in self.matching(publication) {
            let feed = &mut self.feeds[id];
            feed.recent().offsets.push_back(offset);
            feed.members.for_each(|member| woken.push(member));
        }
    }

    /// Takes the oldest entry's offset out again.
    pub(crate) fn evict(&mut self, offset: Offset, publication: &Publication) {
        for id in self.matching(publication) {
            let feed = &mut self.feeds[id];
            let offsets = &mut feed.recent().offsets;
            while offsets.front().is_some_and(|oldest| *oldest <= offset) {
                offsets.pop_front();
            }
            self.drop_if_unused(id);
        }
    }

    /// Interns the matcher and adds a member.
    pub(crate) fn join(
        &mut self,
        matcher: &TopicMatcher,
        subscriber: SubscriptionId,
        client: Option<Client>,
        tail: Offset,
    ) -> Result<(FeedId, FeedSlot), TooMany> {
        let id = match matcher {
            TopicMatcher::Exact(topic) => self.exact(topic),
            TopicMatcher::Pattern(pattern) => self.pattern(pattern, client, tail)?,
        };
        Ok((id, self.join_again(id, subscriber)))
    }

    /// Adds a member to a feed that has some.
    pub(crate) fn join_again(&mut self, id: FeedId, subscriber: SubscriptionId) -> FeedSlot {
        self.feeds[id].members.insert(subscriber)
    }

    /// Takes a member out; `client` is the one that it joined for.
    pub(crate) fn leave(&mut self, id: FeedId, member: FeedSlot, client: Option<Client>) {
        if let Some(client) = client {
            self.budgets.give_back(client, id);
        }
        self.feeds[id].members.remove(member);
        self.drop_if_unused(id);
    }

    /// A feed among these that does not know all after an offset.
    pub(crate) fn lacks(
        &self,
        feeds: impl IntoIterator<Item = FeedId>,
        after: Offset,
    ) -> impl Iterator<Item = (FeedId, Offset)> {
        let since = feeds.into_iter().map(|id| (id, self.get(id).since()));
        since.filter(move |(_, since)| *since > after)
    }

    /// Takes in what a feed has to know of older entries, unless it has changed since.
    pub(crate) fn know_older(&mut self, found: Matching) {
        let Matching { feed: id, until, since, matching } = found;
        if self.feeds.get(id).is_none_or(|feed| feed.since() != until) {
            return;
        }
        let serial = self.complex.serial_of(id);
        for (offset, topics) in matching {
            self.feeds[id].recent().offsets.push_front(offset);
            // With the topic, the offset leaves the feed again.
            for topic in
                serial.iter().flat_map(|serial| topics.iter().map(move |topic| (*serial, topic)))
            {
                let exact = self.exact(topic.1);
                self.feeds[exact].recent().tested.get_or_insert_default().add(topic.0);
            }
        }
        self.feeds[id].recent().since = since;
    }

    /// The feeds that an entry belongs to, each once.
    fn matching(&mut self, publication: &Publication) -> SmallVec<[FeedId; 4]> {
        let mut all = SmallVec::new();
        for topic in publication.topics() {
            let exact = self.exact(topic);
            all.push(exact);
            all.extend(self.matched(exact, topic).iter().copied());
            let tested = self.get(exact).tested().into_iter().flat_map(|tested| &tested.matching);
            all.extend(tested.filter_map(|serial| self.complex.feed(*serial)));
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    fn matched(&mut self, exact: FeedId, topic: &Topic) -> &[FeedId] {
        let matched = &mut self.feeds[exact].recent().matched;
        if matched.as_ref().is_none_or(|matched| matched.version != self.version) {
            let mut feeds = SmallVec::new();
            self.simple.for_each_match(topic.as_str(), |id| feeds.push(id));
            *matched = Some(Matched { version: self.version, feeds });
        }
        matched.as_ref().map_or(&[], |matched| &matched.feeds)
    }

    fn tested_to(&self, topic: &Topic) -> u64 {
        let tested = self.find_exact(topic).and_then(|id| self.get(id).tested());
        tested.map_or(0, |tested| tested.to)
    }

    fn find_exact(&self, topic: &Topic) -> Option<FeedId> {
        let hash = self.hasher.hash_one(Some(topic));
        self.exact.find(hash, |id| self.get(*id).topic() == Some(topic)).copied()
    }

    fn exact(&mut self, topic: &Topic) -> FeedId {
        if let Some(id) = self.find_exact(topic) {
            return id;
        }
        // A topic without a feed has no entry in the ring: the feed knows all there is.
        let hash = self.hasher.hash_one(Some(topic));
        let id = self.feeds.insert(Feed::new(topic.clone().into()));
        let Self { feeds, exact, hasher, .. } = self;
        exact.insert_unique(hash, id, |id| hasher.hash_one(feeds[*id].topic()));
        id
    }

    fn forget_exact(&mut self, id: FeedId) {
        let hash = self.hasher.hash_one(self.get(id).topic());
        if let Ok(found) = self.exact.find_entry(hash, |found| *found == id) {
            found.remove();
        }
    }

    fn pattern(
        &mut self,
        pattern: &TopicPattern,
        client: Option<Client>,
        tail: Offset,
    ) -> Result<FeedId, TooMany> {
        let known = self.by_pattern.get(pattern).copied();
        let complex = is_complex(pattern);
        if complex {
            self.check_limits(known, client)?;
        }
        let id = known.unwrap_or_else(|| self.new_pattern(pattern, complex, tail));
        if let (true, Some(client)) = (complex, client) {
            self.budgets.take(client, id);
        }
        Ok(id)
    }

    fn check_limits(&self, known: Option<FeedId>, client: Option<Client>) -> Result<(), TooMany> {
        if client.is_some_and(|client| !self.budgets.has_room(client, known)) {
            return Err(TooMany::OfClient { limit: self.budgets.limit() });
        }
        if known.is_none() && self.complex.len() >= self.complex_limit {
            return Err(TooMany::InAll { limit: self.complex_limit });
        }
        Ok(())
    }

    fn new_pattern(&mut self, pattern: &TopicPattern, complex: bool, tail: Offset) -> FeedId {
        let mut feed = Feed::new(pattern.clone().into());
        feed.recent().since = tail;
        let id = self.feeds.insert(feed);
        self.by_pattern.insert(pattern.clone(), id);
        if complex {
            self.complex.insert(pattern.clone(), id);
        } else {
            self.simple.insert(pattern, id);
            self.version += 1;
        }
        id
    }

    fn drop_if_unused(&mut self, id: FeedId) {
        let feed = &self.feeds[id];
        if !feed.members.is_empty() {
            return;
        }
        match &feed.matcher {
            TopicMatcher::Exact(_) if feed.offsets().next().is_some() => return,
            TopicMatcher::Exact(_) => self.forget_exact(id),
            TopicMatcher::Pattern(pattern) => {
                self.by_pattern.remove(pattern);
                if self.complex.serial_of(id).is_some() {
                    self.complex.remove(id);
                } else {
                    self.simple.remove(pattern, id);
                    self.version += 1;
                }
            }
        }
        self.feeds.remove(id);
    }
}

impl Feed {
    fn new(matcher: TopicMatcher) -> Self {
        Self { matcher, members: Members::None, recent: None }
    }

    pub(crate) fn matcher(&self) -> &TopicMatcher {
        &self.matcher
    }

    fn recent(&mut self) -> &mut Recent {
        self.recent.get_or_insert_default()
    }

    fn offsets(&self) -> impl Iterator<Item = Offset> {
        self.recent.iter().flat_map(|recent| recent.offsets.iter().copied())
    }

    fn tested(&self) -> Option<&Tested> {
        self.recent.as_ref()?.tested.as_deref()
    }

    /// The topic of an exact feed.
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
        let at = offsets.partition_point(|known| *known <= offset);
        offsets.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use carafe_protocol::{Generation, Position};

    use super::*;
    use crate::paged_table::TableKey;
    use crate::scanned::TESTS;

    fn subscription(number: usize) -> SubscriptionId {
        SubscriptionId::from_index(number)
    }

    fn feeds() -> Feeds {
        Feeds::new(PatternLimits { in_all: 1000, per_client: 1000 })
    }

    fn complex(number: usize) -> TopicMatcher {
        TopicPattern::new(&format!("complex-:id/{number}")).unwrap().into()
    }

    fn entry(offset: Offset, topic: &str) -> Arc<Entry> {
        let position = Position { generation: Generation::new(1), offset, nonce: 0 };
        let publication = Publication::new(Topic::new(topic).unwrap(), "");
        Arc::new(Entry { position, time: std::time::UNIX_EPOCH, publication })
    }

    /// As the hub does; gives how many patterns were tested for it, and who is woken.
    fn publish(feeds: &mut Feeds, offset: Offset, topic: &str) -> (usize, Vec<SubscriptionId>) {
        let (entries, before, mut woken) = ([entry(offset, topic)], TESTS.get(), Vec::new());
        while let Some(untested) = feeds.untested(&entries) {
            feeds.learn(untested.test());
        }
        feeds.push(offset, &entries[0].publication, &mut woken);
        (TESTS.get() - before, woken)
    }

    #[test]
    fn a_topic_is_tested_once_against_each_complex_pattern_however_many_come_and_go() {
        let mut feeds = feeds();
        for number in 0..200 {
            feeds.join(&complex(number), subscription(0), None, 0).unwrap();
        }
        assert_eq!(publish(&mut feeds, 1, "complex-a/7"), (200, vec![subscription(0)]));
        assert_eq!(publish(&mut feeds, 2, "complex-a/7"), (0, vec![subscription(0)]));
        for round in 0..100 {
            let (first, member) =
                feeds.join(&complex(1000 + round), subscription(1), None, 0).unwrap();
            let (second, slot) =
                feeds.join(&complex(2000 + round), subscription(2), None, 0).unwrap();
            feeds.leave(first, member, None);
            let (tests, woken) = publish(&mut feeds, 3, &format!("complex-a/{}", 2000 + round));
            assert_eq!((tests, woken), (201, vec![subscription(2)]), "a new topic");
            assert_eq!(
                publish(&mut feeds, 3, "complex-a/7"),
                (1, vec![subscription(0)]),
                "the new one that has not left"
            );
            feeds.leave(second, slot, None);
            assert_eq!(
                publish(&mut feeds, 3, "complex-a/7"),
                (0, vec![subscription(0)]),
                "leaving costs nothing"
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
            let (feed, member) = feeds.join(&matcher, subscription(1), None, 1000).unwrap();
            assert_eq!((feeds.get(feed).since(), feeds.get(feed).offsets().count()), (1000, 0));
            feeds.leave(feed, member, None);
        }
        assert_eq!(TESTS.get(), before);
    }

    #[test]
    fn what_a_topic_learned_of_a_pattern_is_not_taken_for_another_in_its_place() {
        let mut feeds = feeds();
        let (old, member) = feeds.join(&complex(1), subscription(1), None, 0).unwrap();
        publish(&mut feeds, 1, "complex-a/1");
        feeds.leave(old, member, None);
        let (new, _) = feeds.join(&complex(2), subscription(2), None, 1).unwrap();
        assert_eq!(old, new, "the place is given out again");
        assert_eq!(publish(&mut feeds, 2, "complex-a/1").1, [] as [SubscriptionId; 0]);
        assert_eq!(publish(&mut feeds, 3, "complex-a/2").1, [subscription(2)]);
    }
}
