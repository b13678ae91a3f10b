//! What the hub's lock protects: recent entries, subscriptions and what each waits
//! for.
//!
//! An entry is in the ring and in its feeds, or in neither; and a subscription that found nothing
//! has left its waiter before the next entry comes. Both hold because one lock covers all of it.

use std::sync::Arc;
use std::task::Waker;

use carafe_log::{Access, Entry, Followed};
use carafe_protocol::{Position, TopicMatcher};
use smallvec::SmallVec;

use crate::client::Client;
use crate::feeds::core::Core;
use crate::feeds::interest::Interest;
use crate::feeds::patterns::TooManyPatterns;
use crate::ids::SubscriptionId;
use crate::limits::HubLimits;
use crate::subscription::cursor::Cursor;
use crate::wakeups::{Waiter, Wakeups};

/// Wakers to call after the lock. Most entries wake one dispatcher.
pub(crate) type Wakers = SmallVec<[Waker; 1]>;

/// What the hub's lock protects.
pub(crate) struct HubState {
    pub(crate) core: Core,
    pub(crate) wakeups: Wakeups,
    /// Entries that the log delivered before the hub knew after which position it follows the log.
    early: Option<Vec<Arc<Entry>>>,
    /// Load balancers shall send no new clients.
    pub(crate) retiring: bool,
    pub(crate) draining: bool,
}

impl HubState {
    pub(crate) fn new(core: Core) -> Self {
        Self {
            core,
            wakeups: Wakeups::new(),
            early: Some(Vec::new()),
            retiring: false,
            draining: false,
        }
    }

    /// Starts with the newest entries of the log, so that clients that reconnect after a restart
    /// are served from memory.
    pub(crate) fn start(&mut self, followed: &Followed, limits: &HubLimits) {
        self.core = Core::new(limits.ring_bytes, limits.patterns(), followed.after);
        let early = self.early.take().unwrap_or_default();
        // There is no subscription yet, so there is no waker to call.
        self.push(&followed.recent);
        self.push(&early);
        while self.core.evict() {}
    }

    /// Adds entries to the ring, and returns the wakers to call after the lock.
    pub(crate) fn push(&mut self, entries: &[Arc<Entry>]) -> Wakers {
        let mut wakers = Wakers::new();
        if let Some(early) = &mut self.early {
            early.extend_from_slice(entries);
            return wakers;
        }
        let mut interested: SmallVec<[SubscriptionId; 4]> = SmallVec::new();
        for entry in entries {
            // The tail before this entry: a subscription that waited has missed nothing up to
            // there.
            let before = self.core.tail();
            self.core.push(Arc::clone(entry), &mut interested);
            wakers.extend(interested.drain(..).filter_map(|id| self.wakeups.wake(id, before)));
        }
        wakers
    }

    pub(crate) fn subscribe(
        &mut self,
        matchers: &[TopicMatcher],
        access: &Access,
        client: Option<Client>,
    ) -> Result<(SubscriptionId, Interest), TooManyPatterns> {
        // With the ID that `add` gives out below, under the same lock. A limit that is met leaves
        // nothing to undo.
        let interest = self.core.subscribe(self.wakeups.next_id(), matchers, access, client)?;
        Ok((self.wakeups.add(), interest))
    }

    /// Adds a subscription that wants the same as another.
    pub(crate) fn subscribe_like(&mut self, other: &Interest) -> (SubscriptionId, Interest) {
        let id = self.wakeups.add();
        (id, self.core.subscribe_like(id, other))
    }

    /// Removes a subscription. The caller drops its waiter after the lock.
    pub(crate) fn unsubscribe(
        &mut self,
        id: SubscriptionId,
        interest: &Interest,
    ) -> Option<Waiter> {
        self.core.unsubscribe(interest);
        self.wakeups.remove(id)
    }

    /// Ends a wait: the cursor moves to the position up to which the subscription has missed
    /// nothing. The caller drops the waiter after the lock.
    pub(crate) fn stop_waiting(
        &mut self,
        id: SubscriptionId,
        cursor: &mut Cursor,
    ) -> Option<Waiter> {
        let (waited_to, waiter) = self.wakeups.stop_waiting(id, self.core.tail());
        waited_to.into_iter().for_each(|position| cursor.advance(position));
        waiter
    }

    /// Whether a subscription has received everything and does not end. If so, its cursor is moved
    /// to the tail. The caller drops the waiter after the lock.
    pub(crate) fn has_caught_up(
        &mut self,
        id: SubscriptionId,
        cursor: &mut Cursor,
    ) -> (bool, Option<Waiter>) {
        let waiter = self.stop_waiting(id, cursor);
        let has_caught_up = !self.wakeups.is_ending(id)
            // After `stop_waiting`, which has moved the cursor: the ring may no longer reach back
            // to where the wait began.
            && self.core.has_caught_up(&cursor.interest, cursor.position);
        if has_caught_up {
            cursor.advance(self.core.tail());
        }
        (has_caught_up, waiter)
    }

    /// The position up to which a subscription that waits, or waited until it was woken, has missed
    /// nothing.
    pub(crate) fn waited_to(&self, id: SubscriptionId) -> Option<Position> {
        self.wakeups.waited_to(id, self.core.tail())
    }

    /// Lets up to `count` streams end. Returns how many those are, and the wakers to call after the
    /// lock.
    pub(crate) fn end(&mut self, count: usize) -> (usize, Vec<Waker>) {
        self.wakeups.end(count, self.core.tail())
    }
}
