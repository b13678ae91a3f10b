//! Ring, feeds and cursor: the state machine that decides what each subscription gets. No I/O, no
//! clock.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use carafe_log::Entry;
use carafe_protocol::{Offset, Position, Topic, TopicMatcher};
use smallvec::SmallVec;

use crate::access::{Accesses, Sight};
use crate::envelope::envelope;
use crate::feeds::{Feeds, PatternLimits};
use crate::format::block_at;
use crate::frame::Frame;
use crate::ids::{FeedId, FeedSlot, SubscriptionId};
use crate::older::{self, Matching, Older};
use crate::patterns::TooMany;
use crate::ring::{Found, Ring};
use crate::scanned::{Tested, Untested};
use crate::{Access, Client, Format};

/// How many entries leave the ring at a time, at most.
const EVICTED: usize = 64;

/// How many entries that are not shown to a subscription are passed over at a time.
const HIDDEN: usize = 256;

/// The entries that this node has read, as feeds on a ring.
pub(crate) struct Core {
    ring: Ring,
    feeds: Feeds,
    accesses: Accesses,
}

/// Where a subscription stands: what it asked for, and the position after which it goes on.
pub(crate) struct Cursor {
    pub(crate) interest: Interest,
    pub(crate) position: Position,
}

/// What a subscription asked for: its feeds, by their numbers, and what it sees of them.
pub(crate) struct Interest {
    feeds: SmallVec<[(FeedId, FeedSlot); 2]>,
    sight: Sight,
    /// Whose budget of complex patterns it is in.
    client: Option<Client>,
}

/// What a cursor finds.
pub(crate) enum Step {
    /// The next entry, and its frame if a format was asked for.
    Entry(Arc<Entry>, Frame),
    /// The position has moved over entries that are not shown, and there may be more.
    Hidden,
    /// The ring does not reach back so far: read the log after the cursor's position.
    Behind,
    /// There is nothing more yet.
    CaughtUp,
}

impl Core {
    pub(crate) fn new(ring_bytes: usize, patterns: PatternLimits, tail: Position) -> Self {
        Self {
            ring: Ring::new(ring_bytes, tail),
            feeds: Feeds::new(patterns),
            accesses: Accesses::default(),
        }
    }

    /// The newest position that the hub has read.
    pub(crate) fn tail(&self) -> Position {
        self.ring.tail()
    }

    /// Whether the ring has the entry at this position, and so all after it.
    pub(crate) fn has(&self, position: Position) -> bool {
        self.ring.has(position)
    }

    /// What has to be tested and [learned](Self::learn) before these entries are pushed.
    pub(crate) fn untested(&self, entries: &[Arc<Entry>]) -> Option<Untested> {
        self.feeds.untested(entries)
    }

    pub(crate) fn learn(&mut self, tested: Vec<(Topic, Tested)>) {
        self.feeds.learn(tested);
    }

    /// Takes the next entry in and names the subscriptions that may want it, some perhaps twice.
    pub(crate) fn push(&mut self, entry: Arc<Entry>, woken: &mut Vec<SubscriptionId>) {
        self.feeds.push(entry.offset(), &entry.publication, woken);
        self.ring.push(entry);
    }

    /// Takes some of the oldest entries out; whether there are still more than there may be. One
    /// large entry may be in the place of very many small ones. What was learned of topics leaves
    /// with their last entry: so this comes after all pushes.
    pub(crate) fn evict(&mut self) -> bool {
        for _ in 0..EVICTED {
            let Some(gone) = self.ring.evict() else { return false };
            self.feeds.evict(gone.offset(), &gone.publication);
        }
        true
    }

    /// What has to be tested, and [known](Self::know_older), so that a subscription that goes on
    /// after `position` is served from the ring. Nothing if it is already, or if that would be too
    /// much.
    pub(crate) fn older(&self, interest: &Interest, position: Position) -> Option<Older> {
        let after = position.offset;
        if after < self.ring.floor() {
            return None;
        }
        let lacking: SmallVec<[(FeedId, Offset); 2]> =
            self.feeds.lacks(interest.feed_ids(), after).collect();
        let tests: usize = lacking.iter().map(|(_, since)| self.ring.count(after, *since)).sum();
        let (feed, until) = lacking.first().copied().filter(|_| tests <= older::MOST)?;
        let entries = self.ring.older(after, until, older::AT_ONCE);
        let all = entries.len() < older::AT_ONCE;
        let since = entries.last().filter(|_| !all).map_or(after, |oldest| oldest.offset() - 1);
        Some(Older { feed, matcher: self.feeds.get(feed).matcher().clone(), until, since, entries })
    }

    /// Takes in what was tested, and says what is next.
    pub(crate) fn know_older(
        &mut self,
        found: Matching,
        interest: &Interest,
        position: Position,
    ) -> Option<Older> {
        if found.since >= self.ring.floor() {
            self.feeds.know_older(found);
        }
        self.older(interest, position)
    }

    pub(crate) fn join(
        &mut self,
        subscriber: SubscriptionId,
        matchers: &[TopicMatcher],
        access: &Access,
        client: Option<Client>,
    ) -> Result<Interest, TooMany> {
        let sight = self.accesses.join(access, matchers);
        let mut interest = Interest { feeds: SmallVec::new(), sight, client };
        let tail = self.tail().offset;
        for matcher in matchers {
            match self.feeds.join(matcher, subscriber, client, tail) {
                Ok(member) => interest.feeds.push(member),
                Err(error) => {
                    self.leave(&interest);
                    return Err(error);
                }
            }
        }
        interest.feeds.sort_unstable();
        Ok(interest)
    }

    /// Joins what another subscription has joined.
    pub(crate) fn join_as(&mut self, subscriber: SubscriptionId, other: &Interest) -> Interest {
        let again =
            |(feed, _): &(FeedId, FeedSlot)| (*feed, self.feeds.join_again(*feed, subscriber));
        Interest {
            feeds: other.feeds.iter().map(again).collect(),
            sight: other.sight.clone(),
            client: None,
        }
    }

    pub(crate) fn leave(&mut self, interest: &Interest) {
        for (feed, member) in &interest.feeds {
            self.feeds.leave(*feed, *member, interest.client);
        }
        self.accesses.leave(&interest.sight);
    }

    /// Moves `position` to the next entry that is wanted: the feeds merged, each entry once, in
    /// order.
    pub(crate) fn step(
        &mut self,
        interest: &Interest,
        position: &mut Position,
        format: Option<Format>,
    ) -> Step {
        if !self.covers(interest, *position) {
            return Step::Behind;
        }
        for _ in 0..HIDDEN {
            let Some(offset) = self.next_offset(interest, *position) else {
                advance(position, self.tail());
                return Step::CaughtUp;
            };
            match self.ring.get(offset, &interest.sight, format) {
                None => return Step::Behind,
                Some(Found::Hidden(hidden)) => *position = hidden,
                Some(Found::Shown(entry, frame)) => {
                    *position = entry.position;
                    let frame = frame.unwrap_or_else(|| self.envelope(interest, &entry));
                    return Step::Entry(entry, frame);
                }
            }
        }
        Step::Hidden
    }

    /// Whether the ring has all after `position`, and nothing of it is wanted.
    pub(crate) fn has_caught_up(&self, interest: &Interest, position: Position) -> bool {
        self.covers(interest, position) && self.next_offset(interest, position).is_none()
    }

    /// The next entry in the feeds, whether it is shown or not.
    pub(crate) fn next_offset(&self, interest: &Interest, after: Position) -> Option<Offset> {
        interest
            .feeds
            .iter()
            .filter_map(|(feed, _)| self.feeds.get(*feed).next_after(after.offset))
            .min()
    }

    /// What the subscription asked for, for reading the log.
    pub(crate) fn matchers(&self, interest: &Interest) -> Vec<TopicMatcher> {
        interest.feeds.iter().map(|(feed, _)| self.feeds.get(*feed).matcher().clone()).collect()
    }

    /// The entry in an envelope for a subscription that may not know all its topics: those that it
    /// has asked for and may see, or only may see if it has asked for others.
    pub(crate) fn envelope(&self, interest: &Interest, entry: &Entry) -> Frame {
        let asked = |topic: &Topic| {
            interest.feed_ids().any(|feed| self.feeds.get(feed).matcher().matches(topic))
        };
        let seen = |topic: &Topic| interest.sight.covers_topic(topic);
        let both = entry.publication.topics().any(|topic| seen(topic) && asked(topic));
        let event = envelope(entry, |topic| seen(topic) && (!both || asked(topic)));
        block_at(&event, entry.position)
    }

    fn covers(&self, interest: &Interest, after: Position) -> bool {
        let known = |(feed, _): &(FeedId, FeedSlot)| after.offset >= self.feeds.get(*feed).since();
        after.offset >= self.ring.floor() && interest.feeds.iter().all(known)
    }
}

impl Cursor {
    /// Takes in that there is nothing for it up to `position`.
    pub(crate) fn advance(&mut self, position: Position) {
        advance(&mut self.position, position);
    }
}

impl Interest {
    /// Whether an entry that one of its matchers matches is shown to this subscription.
    pub(crate) fn sees(&self, entry: &Entry) -> bool {
        self.sight.shows(&entry.publication)
    }

    /// Whether it is told the entry in the frame that all others are told it in.
    pub(crate) fn shares_frame(&self, entry: &Entry, format: Format) -> bool {
        self.sight.shares_frame(&entry.publication, format)
    }

    /// Whose it is, if it is its own and that is known.
    pub(crate) fn client(&self) -> Option<Client> {
        self.client
    }

    fn feed_ids(&self) -> impl Iterator<Item = FeedId> {
        self.feeds.iter().map(|(feed, _)| *feed)
    }
}

/// By its feeds and what is seen of them: who has the same gets the same.
impl PartialEq for Interest {
    fn eq(&self, other: &Self) -> bool {
        self.feed_ids().eq(other.feed_ids()) && self.sight.id() == other.sight.id()
    }
}

impl Hash for Interest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.feed_ids().for_each(|feed| feed.hash(state));
        self.sight.id().hash(state);
    }
}

fn advance(position: &mut Position, to: Position) {
    if to.offset > position.offset {
        *position = to;
    }
}
