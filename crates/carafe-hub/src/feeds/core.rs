//! What each subscription receives next: the ring, the feeds that index it, and the accesses.
//!
//! A state machine without I/O and clock, under the hub's lock. It gets the position of a
//! subscription and answers with the next entry; it keeps no position itself.

use std::sync::Arc;

use carafe_log::{Access, Entry};
use carafe_protocol::{Offset, Position, Topic, TopicMatcher};
use smallvec::SmallVec;

use crate::client::Client;
use crate::envelope::{envelope, envelope_json};
use crate::feeds::backfill::{Backfill, BackfillResult, ENTRIES_AT_ONCE, MAX_TESTS};
use crate::feeds::complex_patterns::{Tested, Untested};
use crate::feeds::feed_table::{FeedTable, PatternLimits};
use crate::feeds::interest::Interest;
use crate::feeds::patterns::TooManyPatterns;
use crate::feeds::ring::{Ring, RingEntry};
use crate::format::{Format, block_at};
use crate::frame::Frame;
use crate::ids::{FeedId, SubscriptionId};
use crate::recent_erasures::TopicBits;
use crate::visibility::AccessTable;

/// Entries that leave the ring in one step. The lock is released between two steps.
const EVICTED_AT_ONCE: usize = 64;

/// Hidden entries that one step skips. The lock is released between two steps.
const HIDDEN_AT_ONCE: usize = 256;

/// The entries that this node has read: a ring, and the feeds that index it.
pub(crate) struct Core {
    ring: Ring,
    feeds: FeedTable,
    accesses: AccessTable,
}

/// What comes after a position.
pub(crate) enum Step {
    /// The next entry, and its frame if a format was given.
    Entry(Arc<Entry>, Frame),
    /// The position has moved over entries that are not shown. There may be more.
    Hidden,
    /// The ring does not reach back to the position: read the log after it.
    Behind,
    /// There is nothing more yet.
    CaughtUp,
}

impl Core {
    pub(crate) fn new(ring_bytes: usize, patterns: PatternLimits, tail: Position) -> Self {
        Self {
            ring: Ring::new(ring_bytes, tail),
            feeds: FeedTable::new(patterns),
            accesses: AccessTable::default(),
        }
    }

    /// The newest position that the hub has read.
    pub(crate) fn tail(&self) -> Position {
        self.ring.tail()
    }

    /// Whether the ring has the entry at this position, and so everything after it.
    pub(crate) fn contains(&self, position: Position) -> bool {
        self.ring.contains(position)
    }

    /// Which patterns have to be tested, and their results [learned](Self::learn), before these
    /// entries are pushed. The tests run without the lock.
    pub(crate) fn untested(&self, entries: &[Arc<Entry>]) -> Option<Untested> {
        self.feeds.untested(entries)
    }

    pub(crate) fn learn(&mut self, tested: Vec<(Topic, Tested)>) {
        self.feeds.learn(tested);
    }

    /// Adds the next entry, and appends the subscriptions that may want it to `interested`, some
    /// perhaps twice. All patterns of its topics have been tested.
    pub(crate) fn push(&mut self, entry: Arc<Entry>, interested: &mut impl Extend<SubscriptionId>) {
        // Both under one lock: an offset in a feed always has its entry in the ring, until `evict`
        // removes both.
        self.feeds.push(entry.offset(), &entry.publication, interested);
        self.ring.push(entry);
    }

    /// Removes some of the oldest entries; whether the ring is still over its limit. One large
    /// entry may replace very many small ones.
    ///
    /// The tested patterns of a topic leave with its last entry. So all pushes come before this.
    pub(crate) fn evict(&mut self) -> bool {
        for _ in 0..EVICTED_AT_ONCE {
            // The ring first, then its feeds: the lock is held over both, so no subscriber sees one
            // without the other.
            let Some(evicted) = self.ring.evict() else { return false };
            self.feeds.evict(evicted.offset(), &evicted.publication);
        }
        true
    }

    /// What has to be tested, and [applied](Self::apply_backfill), so that a subscription at
    /// `position` is served from the ring. `None` if it is already, or if that takes too many
    /// tests.
    pub(crate) fn backfill(&self, interest: &Interest, position: Position) -> Option<Backfill> {
        let after = position.offset;
        // The ring does not reach back so far: the log has to be read anyway.
        if after < self.ring.floor() {
            return None;
        }
        let lacking: SmallVec<[(FeedId, Offset); 2]> =
            self.feeds.lacking(interest.feed_ids(), after).collect();
        let tests: usize = lacking.iter().map(|(_, since)| self.ring.count(after, *since)).sum();
        let (feed, until) = lacking.first().copied().filter(|_| tests <= MAX_TESTS)?;
        let entries = self.ring.newest_before(after, until, ENTRIES_AT_ONCE);
        let is_last = entries.len() < ENTRIES_AT_ONCE;
        let oldest = entries.last().filter(|_| !is_last);
        // Entries are tested from the newest to the oldest. Not below zero: offsets of entries
        // begin at 1.
        let since = oldest.map_or(after, |oldest| oldest.offset() - 1);
        let matcher = self.feeds.get(feed).matcher().clone();
        Some(Backfill { feed, matcher, until, since, entries })
    }

    /// Applies a result, and returns the next tests.
    pub(crate) fn apply_backfill(
        &mut self,
        result: BackfillResult,
        interest: &Interest,
        position: Position,
    ) -> Option<Backfill> {
        // Entries may have left the ring during the tests.
        if result.since >= self.ring.floor() {
            self.feeds.apply_backfill(result);
        }
        self.backfill(interest, position)
    }

    /// Adds a subscription to the feeds of these matchers.
    pub(crate) fn subscribe(
        &mut self,
        id: SubscriptionId,
        matchers: &[TopicMatcher],
        access: &Access,
        client: Option<Client>,
    ) -> Result<Interest, TooManyPatterns> {
        let access = self.accesses.intern(access, matchers);
        let mut interest = Interest { feeds: SmallVec::new(), access, client };
        let tail = self.tail().offset;
        for matcher in matchers {
            match self.feeds.subscribe(matcher, id, client, tail) {
                Ok(feed) => interest.feeds.push(feed),
                Err(error) => {
                    // Gives back what the matchers before this one have taken, and the access.
                    self.unsubscribe(&interest);
                    return Err(error);
                }
            }
        }
        // Sorted, so that two requests for the same are equal whatever the order of their matchers.
        interest.feeds.sort_unstable();
        Ok(interest)
    }

    /// Adds a subscription that wants the same as another.
    pub(crate) fn subscribe_like(&mut self, id: SubscriptionId, other: &Interest) -> Interest {
        let feeds = other.feed_ids().map(|feed| (feed, self.feeds.add_subscriber(feed, id)));
        Interest { feeds: feeds.collect(), access: other.access.clone(), client: None }
    }

    pub(crate) fn unsubscribe(&mut self, interest: &Interest) {
        for (feed, slot) in &interest.feeds {
            self.feeds.remove_subscriber(*feed, *slot, interest.client);
        }
        self.accesses.release(&interest.access);
    }

    /// Moves `position` to the next entry that the subscription receives: its feeds merged, each
    /// entry once, in order.
    pub(crate) fn step(
        &mut self,
        interest: &Interest,
        position: &mut Position,
        format: Option<Format>,
    ) -> Step {
        if !self.covers(interest, *position) {
            return Step::Behind;
        }
        for _ in 0..HIDDEN_AT_ONCE {
            let Some(offset) = self.next_offset(interest, *position) else {
                advance(position, self.tail());
                return Step::CaughtUp;
            };
            // Absent only if the ring evicted it, which `covers` rules out; reading the log is
            // right all the same.
            match self.ring.get(offset, &interest.access, format) {
                None => return Step::Behind,
                Some(RingEntry::Hidden(hidden)) => *position = hidden,
                Some(RingEntry::Shown(entry, frame)) => {
                    *position = entry.position;
                    let frame = frame.unwrap_or_else(|| self.own_envelope(interest, &entry));
                    return Step::Entry(entry, frame);
                }
            }
        }
        Step::Hidden
    }

    /// Whether the ring has everything after `position`, and the subscription wants none of it.
    pub(crate) fn has_caught_up(&self, interest: &Interest, position: Position) -> bool {
        self.covers(interest, position) && self.next_offset(interest, position).is_none()
    }

    /// The topics of a subscription that requests exact topics only.
    pub(crate) fn exact_topics(&self, interest: &Interest) -> Option<Vec<Topic>> {
        let exact = |feed| match self.feeds.get(feed).matcher() {
            TopicMatcher::Exact(topic) => Some(topic.clone()),
            TopicMatcher::Pattern(_) => None,
        };
        interest.feed_ids().map(exact).collect()
    }

    /// The matchers of a subscription, for reading the log.
    pub(crate) fn matchers(&self, interest: &Interest) -> Vec<TopicMatcher> {
        interest.feed_ids().map(|feed| self.feeds.get(feed).matcher().clone()).collect()
    }

    /// The entry in an envelope for a subscription that may not know all its topics.
    pub(crate) fn own_envelope(&self, interest: &Interest, entry: &Entry) -> Frame {
        let event = envelope(entry, self.names(interest, entry));
        block_at(&event, entry.position).of_topics(TopicBits::of(&entry.publication))
    }

    /// The JSON object of [`own_envelope`](Self::own_envelope).
    pub(crate) fn own_envelope_json(&self, interest: &Interest, entry: &Entry) -> String {
        envelope_json(entry, self.names(interest, entry))
    }

    /// Which topics of the entry an envelope names: those that the subscription requests and may
    /// see, or if there are none, those that it may see.
    fn names(&self, interest: &Interest, entry: &Entry) -> impl Fn(&Topic) -> bool {
        let is_requested = |topic: &Topic| {
            interest.feed_ids().any(|feed| self.feeds.get(feed).matcher().matches(topic))
        };
        let is_shown = |topic: &Topic| interest.access.covers_topic(topic);
        let has_both =
            entry.publication.topics().any(|topic| is_shown(topic) && is_requested(topic));
        move |topic| is_shown(topic) && (!has_both || is_requested(topic))
    }

    /// The next entry in the feeds, whether it is shown or not.
    fn next_offset(&self, interest: &Interest, after: Position) -> Option<Offset> {
        // A merge by binary search in each feed: no feed keeps a cursor, so a million subscriptions
        // share it.
        interest.feed_ids().filter_map(|feed| self.feeds.get(feed).next_after(after.offset)).min()
    }

    fn covers(&self, interest: &Interest, after: Position) -> bool {
        let is_known = |feed| after.offset >= self.feeds.get(feed).since();
        after.offset >= self.ring.floor() && interest.feed_ids().all(is_known)
    }
}

/// Moves a position forward, never back.
pub(crate) fn advance(position: &mut Position, to: Position) {
    *position = later(to, *position);
}

/// The later one of two positions.
pub(crate) fn later(one: Position, other: Position) -> Position {
    if one.offset > other.offset { one } else { other }
}
