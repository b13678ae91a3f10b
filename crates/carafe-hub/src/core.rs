//! Ring, feeds and cursor: the state machine that decides what each subscription gets. No I/O, no clock.

use std::sync::Arc;

use bytes::Bytes;
use carafe_log::Entry;
use carafe_protocol::{Position, TopicMatcher};
use smallvec::SmallVec;

use crate::access::{Accesses, Sight};
use crate::feeds::{FeedId, Feeds, MemberId, SubscriberId};
use crate::patterns::TooManyComplexPatterns;
use crate::ring::{Found, Ring};
use crate::{Access, Form};

/// The entries that this node has read, as feeds on a ring.
pub(crate) struct Core {
    ring: Ring,
    feeds: Feeds,
    accesses: Accesses,
}

/// Where a subscription stands: its feeds, and the position after which it goes on.
pub(crate) struct Cursor {
    feeds: SmallVec<[(FeedId, MemberId); 1]>,
    pub(crate) position: Position,
    sight: Sight,
}

/// What a cursor finds.
pub(crate) enum Step {
    /// The next entry, and its frame if a form was asked for.
    Entry(Arc<Entry>, Bytes),
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
        position: Position,
        access: &Access,
    ) -> Result<Cursor, TooManyComplexPatterns> {
        let sight = self.accesses.join(access, matchers);
        let mut cursor = Cursor { feeds: SmallVec::new(), position, sight };
        let tail = self.tail().offset;
        for matcher in matchers {
            match self.feeds.join(matcher, subscriber, tail) {
                Ok(member) => cursor.feeds.push(member),
                Err(error) => {
                    self.leave(&cursor);
                    return Err(error);
                }
            }
        }
        Ok(cursor)
    }

    pub(crate) fn leave(&mut self, cursor: &Cursor) {
        for (feed, member) in &cursor.feeds {
            self.feeds.leave(*feed, *member);
        }
        self.accesses.leave(&cursor.sight);
    }

    /// Moves the cursor to the next entry that it wants: the feeds merged, each entry once, in order.
    pub(crate) fn step(&mut self, cursor: &mut Cursor, form: Option<Form>) -> Step {
        if !self.covers(cursor) {
            return Step::Behind;
        }
        while let Some(offset) = self.next_offset(cursor) {
            match self.ring.get(offset, &cursor.sight, form) {
                None => return Step::Behind,
                Some(Found::Hidden(position)) => cursor.position = position,
                Some(Found::Shown(entry, frame)) => {
                    cursor.position = entry.position;
                    return Step::Entry(entry, frame);
                }
            }
        }
        cursor.advance(self.tail());
        Step::CaughtUp
    }

    /// What the subscription asked for, for reading the log.
    pub(crate) fn matchers(&self, cursor: &Cursor) -> Vec<TopicMatcher> {
        cursor.feeds.iter().map(|(feed, _)| self.feeds.get(*feed).matcher().clone()).collect()
    }

    fn covers(&self, cursor: &Cursor) -> bool {
        let after = cursor.position.offset;
        let known = |(feed, _): &(FeedId, MemberId)| after >= self.feeds.get(*feed).since();
        after >= self.ring.floor() && cursor.feeds.iter().all(known)
    }

    fn next_offset(&self, cursor: &Cursor) -> Option<u64> {
        let after = cursor.position.offset;
        cursor.feeds.iter().filter_map(|(feed, _)| self.feeds.get(*feed).next_after(after)).min()
    }
}

impl Cursor {
    /// Takes in that there is nothing for it up to `position`.
    pub(crate) fn advance(&mut self, position: Position) {
        if position.offset > self.position.offset {
            self.position = position;
        }
    }

    /// Whether an entry that one of its matchers matches is shown to this subscription.
    pub(crate) fn sees(&self, entry: &Entry) -> bool {
        self.sight.shows(&entry.publication)
    }
}
