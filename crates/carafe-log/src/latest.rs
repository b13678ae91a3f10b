//! The newest entries of each topic: what is asked, what is found, and the collection of it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use carafe_protocol::{Offset, Position, Topic, TopicMatcher};

use crate::{Access, Entry, ReadError};

/// A question for the newest events of each topic.
///
/// ```
/// use carafe_log::{Append, LatestQuery, MemoryLog, Publication, Read};
/// use carafe_protocol::{Topic, TopicMatcher};
///
/// # futures_executor::block_on(async {
/// let log = MemoryLog::default();
/// for (topic, data) in [("lamp", "on"), ("door", "open"), ("lamp", "off")] {
///     log.append(vec![Publication::new(Topic::new(topic)?, data)]).await?;
/// }
/// let latest = log.latest(LatestQuery::of([TopicMatcher::any()])).await?;
/// assert_eq!(latest.offsets, [2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LatestQuery {
    /// The topics.
    pub wanted: Vec<TopicMatcher>,
    /// Only entries that it shows count.
    pub access: Access,
    /// Only entries after this offset count.
    pub after: Offset,
    /// How many entries of each topic.
    pub count: usize,
    /// How many entries in all, where an entry of several topics counts for each of them.
    pub limit: usize,
}

impl LatestQuery {
    /// The newest public entry of each of these topics.
    #[must_use]
    pub fn of(wanted: impl Into<Vec<TopicMatcher>>) -> Self {
        let (wanted, access) = (wanted.into(), Access::public());
        Self { wanted, access, after: 0, count: 1, limit: usize::MAX }
    }

    /// Sets [`access`](Self::access).
    #[must_use]
    pub fn with_access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Sets [`after`](Self::after).
    #[must_use]
    pub fn with_after(mut self, after: Offset) -> Self {
        self.after = after;
        self
    }

    /// Sets [`count`](Self::count).
    #[must_use]
    pub fn with_count(mut self, count: usize) -> Self {
        self.count = count;
        self
    }

    /// Sets [`limit`](Self::limit).
    #[must_use]
    pub fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

/// The newest events of each topic. See [`LatestQuery`] for an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latest {
    /// The offsets of the entries, in order, each once.
    pub offsets: Vec<Offset>,
    /// The newest position at the time of the search.
    pub up_to: Position,
}

/// Identifies a topic by two hashes with random keys. A client cannot construct two topics with the
/// same identity, and a search needs no memory for their names.
pub(crate) type TopicKey = (u64, u64);

/// Collects the newest entries of each topic. They are added from the newest to the oldest of a
/// topic.
pub(crate) struct Newest {
    keys: (RandomState, RandomState),
    /// How many entries of each topic were found.
    found: HashMap<TopicKey, usize>,
    offsets: Vec<Offset>,
    count: usize,
    limit: usize,
}

impl Newest {
    pub(crate) fn new(query: &LatestQuery) -> Self {
        Self {
            keys: Default::default(),
            found: HashMap::new(),
            offsets: Vec::new(),
            count: query.count,
            limit: query.limit,
        }
    }

    pub(crate) fn key(&self, topic: &str) -> TopicKey {
        (self.keys.0.hash_one(topic), self.keys.1.hash_one(topic))
    }

    /// Whether all entries of the topic that are asked for were found.
    pub(crate) fn is_complete(&self, topic: TopicKey) -> bool {
        self.found.get(&topic).copied().unwrap_or(0) >= self.count
    }

    /// Adds an entry to each of its topics that is wanted and lacks some. Returns how many topics
    /// lack nothing now.
    pub(crate) fn take(
        &mut self,
        entry: &Entry,
        mut is_wanted: impl FnMut(&Topic) -> bool,
        is_shown: impl FnOnce() -> bool,
    ) -> Result<usize, ReadError> {
        if !entry.publication.counts() {
            return Ok(0);
        }
        let mut lacking = Vec::new();
        for topic in entry.publication.topics() {
            let key = self.key(topic.as_str());
            if !self.is_complete(key) && is_wanted(topic) {
                lacking.push(key);
            }
        }
        // An event may have the same topic twice.
        lacking.sort_unstable();
        lacking.dedup();
        if lacking.is_empty() || !is_shown() {
            return Ok(0);
        }
        let mut completed = 0;
        for topic in lacking {
            completed += usize::from(self.add(topic, entry.offset())?);
        }
        Ok(completed)
    }

    /// Adds an entry of a topic; whether the topic lacks nothing now.
    pub(crate) fn add(&mut self, topic: TopicKey, offset: Offset) -> Result<bool, ReadError> {
        if self.offsets.len() >= self.limit {
            return Err(ReadError::TooManyLatest { limit: self.limit });
        }
        self.offsets.push(offset);
        let found = self.found.entry(topic).or_default();
        *found += 1;
        Ok(*found >= self.count)
    }

    pub(crate) fn finish(&mut self, up_to: Position) -> Latest {
        let mut offsets = std::mem::take(&mut self.offsets);
        offsets.sort_unstable();
        // An entry of several topics may be the newest of several.
        offsets.dedup();
        offsets.shrink_to_fit();
        Latest { offsets, up_to }
    }
}
