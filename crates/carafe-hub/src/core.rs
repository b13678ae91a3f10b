//! Ring, feeds and cursor: the state machine that decides what each subscription gets. No I/O, no clock.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use carafe_log::Entry;
use carafe_protocol::{Offset, Position, Topic, TopicMatcher};
use smallvec::SmallVec;

use crate::access::{Accesses, Sight};
use crate::feeds::{FeedId, Feeds, MemberId, SubscriberId};
use crate::frame::{Frame, envelope_frame};
use crate::patterns::TooManyComplexPatterns;
use crate::ring::{Found, Ring};
use crate::{Access, Form};

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
    feeds: SmallVec<[(FeedId, MemberId); 2]>,
    sight: Sight,
}

/// What a cursor finds.
pub(crate) enum Step {
    /// The next entry, and its frame if a form was asked for.
    Entry(Arc<Entry>, Frame),
    /// The ring does not reach back so far: read the log after the cursor's position.
    Behind,
    /// There is nothing more yet.
    CaughtUp,
}

impl Core {
    pub(crate) fn new(ring_bytes: usize, complex_patterns: usize, tail: Position) -> Self {
        Self {
            ring: Ring::new(ring_bytes, tail),
            feeds: Feeds::new(complex_patterns),
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

    /// Takes the next entry in and names the subscriptions that may want it, some perhaps twice.
    pub(crate) fn push(&mut self, entry: Arc<Entry>, woken: &mut Vec<SubscriberId>) {
        self.feeds.push(entry.offset(), &entry.publication, woken);
        self.ring.push(entry);
        while let Some(gone) = self.ring.evict() {
            self.feeds.evict(gone.offset(), &gone.publication);
        }
    }

    pub(crate) fn join(
        &mut self,
        subscriber: SubscriberId,
        matchers: &[TopicMatcher],
        access: &Access,
    ) -> Result<Interest, TooManyComplexPatterns> {
        let sight = self.accesses.join(access, matchers);
        let mut interest = Interest { feeds: SmallVec::new(), sight };
        let tail = self.tail().offset;
        for matcher in matchers {
            match self.feeds.join(matcher, subscriber, tail) {
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
    pub(crate) fn join_as(&mut self, subscriber: SubscriberId, other: &Interest) -> Interest {
        let again = |(feed, _): &(FeedId, MemberId)| (*feed, self.feeds.join_again(*feed, subscriber));
        Interest { feeds: other.feeds.iter().map(again).collect(), sight: other.sight.clone() }
    }

    pub(crate) fn leave(&mut self, interest: &Interest) {
        for (feed, member) in &interest.feeds {
            self.feeds.leave(*feed, *member);
        }
        self.accesses.leave(&interest.sight);
    }

    /// Moves `position` to the next entry that is wanted: the feeds merged, each entry once, in order.
    pub(crate) fn step(&mut self, interest: &Interest, position: &mut Position, form: Option<Form>) -> Step {
        if !self.covers(interest, *position) {
            return Step::Behind;
        }
        while let Some(offset) = self.next_offset(interest, *position) {
            match self.ring.get(offset, &interest.sight, form) {
                None => return Step::Behind,
                Some(Found::Hidden(hidden)) => *position = hidden,
                Some(Found::Shown(entry, frame)) => {
                    *position = entry.position;
                    let frame = frame.unwrap_or_else(|| self.envelope(interest, &entry));
                    return Step::Entry(entry, frame);
                }
            }
        }
        advance(position, self.tail());
        Step::CaughtUp
    }

    /// Whether the ring has all after `position`, and nothing of it is wanted.
    pub(crate) fn has_caught_up(&self, interest: &Interest, position: Position) -> bool {
        self.covers(interest, position) && self.next_offset(interest, position).is_none()
    }

    /// The next entry in the feeds, whether it is shown or not.
    pub(crate) fn next_offset(&self, interest: &Interest, after: Position) -> Option<Offset> {
        interest.feeds.iter().filter_map(|(feed, _)| self.feeds.get(*feed).next_after(after.offset)).min()
    }

    /// What the subscription asked for, for reading the log.
    pub(crate) fn matchers(&self, interest: &Interest) -> Vec<TopicMatcher> {
        interest.feeds.iter().map(|(feed, _)| self.feeds.get(*feed).matcher().clone()).collect()
    }

    /// The entry in an envelope for a subscription that may not know all its topics: those that it has asked for and may see,
    /// or only may see if it has asked for others.
    pub(crate) fn envelope(&self, interest: &Interest, entry: &Entry) -> Frame {
        let asked =
            |topic: &Topic| interest.feed_ids().any(|feed| self.feeds.get(feed).matcher().matches(topic));
        let seen = |topic: &Topic| interest.sight.covers_topic(topic);
        let both = entry.publication.topics().any(|topic| seen(topic) && asked(topic));
        envelope_frame(entry, |topic| seen(topic) && (!both || asked(topic)))
    }

    fn covers(&self, interest: &Interest, after: Position) -> bool {
        let known = |(feed, _): &(FeedId, MemberId)| after.offset >= self.feeds.get(*feed).since();
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
    pub(crate) fn shares_frame(&self, entry: &Entry, form: Form) -> bool {
        self.sight.shares_frame(&entry.publication, form)
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
