//! Interned matchers and the offsets of recent entries that match them.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use carafe_log::Publication;
use carafe_protocol::{Offset, Topic, TopicMatcher, TopicPattern};
use hashbrown::HashTable;
use smallvec::SmallVec;

use crate::members::{Members, index};
use crate::pages::Pages;
use crate::patterns::{Patterns, TooManyComplexPatterns};

/// Names a feed.
pub(crate) type FeedId = u32;

/// Names a subscription, for waking it.
pub(crate) type SubscriberId = u32;

/// Names a subscriber's place in a feed.
pub(crate) type MemberId = u32;

/// A new pattern's feed begins with what the ring has of its topics, unless there are more than this: then its
/// first subscribers read the log, instead of holding up everybody.
const TOPICS_SCANNED: usize = 4096;

/// All feeds: one per topic with recent entries or subscribers, one per pattern with subscribers.
pub(crate) struct Feeds {
    feeds: Pages<Feed>,
    /// By the topics of their feeds, which have the text.
    exact: HashTable<FeedId>,
    hasher: RandomState,
    by_pattern: HashMap<TopicPattern, FeedId>,
    patterns: Patterns<FeedId>,
    /// Counts changes of `patterns`; what was matched under another number is matched again.
    patterns_version: u64,
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
}

/// The pattern feeds that a topic matches.
struct Matched {
    /// Of the patterns.
    version: u64,
    feeds: SmallVec<[FeedId; 2]>,
}

impl Feeds {
    pub(crate) fn new(complex_patterns: usize) -> Self {
        Self {
            feeds: Pages::new(),
            exact: HashTable::new(),
            hasher: RandomState::new(),
            by_pattern: HashMap::new(),
            patterns: Patterns::new(complex_patterns),
            patterns_version: 0,
        }
    }

    pub(crate) fn get(&self, id: FeedId) -> &Feed {
        &self.feeds[id as usize]
    }

    /// Adds an entry's offset to every feed that matches, and names their members.
    pub(crate) fn push(&mut self, offset: Offset, publication: &Publication, woken: &mut Vec<SubscriberId>) {
        for id in self.matching(publication) {
            let feed = &mut self.feeds[id as usize];
            feed.recent().offsets.push_back(offset);
            feed.members.for_each(|member| woken.push(member));
        }
    }

    /// Takes the oldest entry's offset out again.
    pub(crate) fn evict(&mut self, offset: Offset, publication: &Publication) {
        for id in self.matching(publication) {
            let feed = &mut self.feeds[id as usize];
            let offsets = &mut feed.recent().offsets;
            if offsets.front() == Some(&offset) {
                offsets.pop_front();
            }
            self.drop_if_unused(id);
        }
    }

    /// Interns the matcher and adds a member.
    pub(crate) fn join(
        &mut self,
        matcher: &TopicMatcher,
        subscriber: SubscriberId,
        tail: Offset,
    ) -> Result<(FeedId, MemberId), TooManyComplexPatterns> {
        let id = match matcher {
            TopicMatcher::Exact(topic) => self.exact(topic),
            TopicMatcher::Pattern(pattern) => self.pattern(pattern, tail)?,
        };
        Ok((id, self.join_again(id, subscriber)))
    }

    /// Adds a member to a feed that has some.
    pub(crate) fn join_again(&mut self, id: FeedId, subscriber: SubscriberId) -> MemberId {
        self.feeds[id as usize].members.insert(subscriber)
    }

    pub(crate) fn leave(&mut self, id: FeedId, member: MemberId) {
        self.feeds[id as usize].members.remove(member);
        self.drop_if_unused(id);
    }

    /// The feeds that an entry belongs to, each once.
    fn matching(&mut self, publication: &Publication) -> SmallVec<[FeedId; 4]> {
        let mut all = SmallVec::new();
        for topic in publication.topics() {
            let exact = self.exact(topic);
            all.push(exact);
            all.extend(self.matched(exact, topic).iter().copied());
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    fn matched(&mut self, exact: FeedId, topic: &Topic) -> &[FeedId] {
        let matched = &mut self.feeds[exact as usize].recent().matched;
        if matched.as_ref().is_none_or(|matched| matched.version != self.patterns_version) {
            let mut feeds = SmallVec::new();
            self.patterns.for_each_match(topic.as_str(), |id| feeds.push(id));
            *matched = Some(Matched { version: self.patterns_version, feeds });
        }
        matched.as_ref().map_or(&[], |matched| &matched.feeds)
    }

    fn exact(&mut self, topic: &Topic) -> FeedId {
        let hash = self.hasher.hash_one(Some(topic));
        if let Some(id) = self.exact.find(hash, |id| self.get(*id).topic() == Some(topic)) {
            return *id;
        }
        // A topic without a feed has no entry in the ring: the feed knows all there is.
        let id = index(self.feeds.insert(Feed::new(topic.clone().into())));
        let Self { feeds, exact, hasher, .. } = self;
        exact.insert_unique(hash, id, |id| hasher.hash_one(feeds[*id as usize].topic()));
        id
    }

    fn forget_exact(&mut self, id: FeedId) {
        let hash = self.hasher.hash_one(self.get(id).topic());
        if let Ok(found) = self.exact.find_entry(hash, |found| *found == id) {
            found.remove();
        }
    }

    fn pattern(&mut self, pattern: &TopicPattern, tail: Offset) -> Result<FeedId, TooManyComplexPatterns> {
        if let Some(id) = self.by_pattern.get(pattern) {
            return Ok(*id);
        }
        let mut feed = Feed::new(pattern.clone().into());
        feed.recent().since = tail;
        if self.exact.len() <= TOPICS_SCANNED {
            feed.recent().since = 0;
            feed.recent().offsets = self.offsets_matching(pattern);
        }
        let id = index(self.feeds.vacant_key());
        self.patterns.insert(pattern, id)?;
        self.patterns_version += 1;
        self.by_pattern.insert(pattern.clone(), id);
        self.feeds.insert(feed);
        Ok(id)
    }

    fn offsets_matching(&self, pattern: &TopicPattern) -> VecDeque<Offset> {
        let feeds = self.exact.iter().map(|id| self.get(*id));
        let matching = feeds.filter(|feed| feed.topic().is_some_and(|topic| pattern.matches(topic.as_str())));
        let mut offsets: Vec<_> = matching.flat_map(Feed::offsets).collect();
        offsets.sort_unstable();
        offsets.dedup();
        offsets.into()
    }

    fn drop_if_unused(&mut self, id: FeedId) {
        let feed = &self.feeds[id as usize];
        if !feed.members.is_empty() {
            return;
        }
        match &feed.matcher {
            TopicMatcher::Exact(_) if feed.offsets().next().is_some() => return,
            TopicMatcher::Exact(_) => self.forget_exact(id),
            TopicMatcher::Pattern(pattern) => {
                self.by_pattern.remove(pattern);
                self.patterns.remove(pattern, id);
                self.patterns_version += 1;
            }
        }
        self.feeds.remove(id as usize);
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
