//! Who wakes a subscriber: this module decides.
//!
//! A subscription that has caught up leaves a [`Waiter`]: the waker of its task, or the group of a
//! dispatcher that serves it. When an entry comes that the subscription may want, its waiter is
//! taken, once, and its task or the dispatcher is woken. A dispatcher is woken once for all its
//! groups, until it has collected what came ([`DispatcherInbox`]).
//!
//! Everything here runs under the hub's lock, and no waker is called or dropped here: calling or
//! dropping one may end a task, whose subscription then takes the same lock. So wakers are returned
//! to the caller, which uses them after the lock.

use std::task::Waker;

use carafe_protocol::{Generation, Offset, Position};

use crate::delivery::inbox::DispatcherInbox;
use crate::ids::{DispatcherId, GroupId, SubscriptionId};
use crate::paged_table::PagedTable;

/// The subscriptions of a hub, and what each waits for.
pub(crate) struct Wakeups {
    subscriptions: PagedTable<SubscriptionId, WaitSlot>,
    inboxes: PagedTable<DispatcherId, DispatcherInbox>,
    /// Subscriptions that serve groups. They are no streams themselves.
    groups: usize,
}

/// What the hub knows of a subscription between two polls.
#[derive(Default)]
struct WaitSlot {
    state: WaitState,
    ending: bool,
    /// The subscription serves a group. The group's members are the streams, and end one by one.
    is_group: bool,
}

/// Whether a subscription waits.
#[derive(Default)]
enum WaitState {
    /// It is being polled, or was not polled yet.
    #[default]
    Busy,
    /// It has caught up, and nothing that it may want has come since.
    Waiting(Waiter),
    /// Something has come. Up to this position there was nothing for it.
    // The fields of a `Position`, which itself has no room for the number of this variant.
    Woken { generation: Generation, offset: Offset, nonce: u32 },
}

/// What is woken when something comes for a subscription.
pub(crate) enum Waiter {
    /// A task that polls the subscription.
    Task(Waker),
    /// A group of a dispatcher.
    Group(DispatcherId, GroupId),
}

impl Wakeups {
    pub(crate) fn new() -> Self {
        Self { subscriptions: PagedTable::new(), inboxes: PagedTable::new(), groups: 0 }
    }

    /// The ID that the next subscription gets.
    pub(crate) fn next_id(&self) -> SubscriptionId {
        self.subscriptions.vacant_key()
    }

    pub(crate) fn add(&mut self) -> SubscriptionId {
        self.subscriptions.insert(WaitSlot::default())
    }

    /// Removes a subscription. The caller drops its waiter after the lock.
    pub(crate) fn remove(&mut self, id: SubscriptionId) -> Option<Waiter> {
        let slot = self.subscriptions.remove(id);
        // Cannot go below zero: `become_group` sets the flag once, and counts.
        self.groups -= usize::from(slot.is_group);
        match slot.state {
            WaitState::Waiting(waiter) => Some(waiter),
            WaitState::Busy | WaitState::Woken { .. } => None,
        }
    }

    pub(crate) fn add_dispatcher(&mut self, waker: Waker) -> DispatcherId {
        self.inboxes.insert(DispatcherInbox::new(waker))
    }

    /// Removes a dispatcher. The caller drops the inbox, and with it the waker, after the lock.
    pub(crate) fn remove_dispatcher(&mut self, id: DispatcherId) -> DispatcherInbox {
        self.inboxes.remove(id)
    }

    pub(crate) fn inbox(&mut self, id: DispatcherId) -> &mut DispatcherInbox {
        &mut self.inboxes[id]
    }

    /// An entry came that a subscription may want; `before` is the position before it. Returns the
    /// waker to call, unless nothing waits or the dispatcher was woken already.
    pub(crate) fn wake(&mut self, id: SubscriptionId, before: Position) -> Option<Waker> {
        // The ID is in use: feeds name only subscriptions that are registered, and both change
        // under this lock.
        match self.subscriptions[id].take_waiter(before)? {
            Waiter::Task(waker) => Some(waker),
            // A dispatcher drops the subscriptions of its groups before it removes its inbox.
            Waiter::Group(dispatcher, group) => self.inboxes[dispatcher].touch(group),
        }
    }

    /// Leaves the waiter of a subscription that has caught up; `false` if the subscription has to
    /// end instead.
    pub(crate) fn wait(&mut self, id: SubscriptionId, waiter: Waiter) -> bool {
        let slot = &mut self.subscriptions[id];
        if slot.ending {
            // Drops a clone of a waker under the lock. The caller holds the waker itself, so this
            // ends no task.
            return false;
        }
        // Replaces no waiter: every caller has called `stop_waiting` under the same lock.
        slot.state = WaitState::Waiting(waiter);
        true
    }

    /// Whether a subscription has caught up, and nothing that it may want has come since.
    pub(crate) fn is_waiting(&self, id: SubscriptionId) -> bool {
        matches!(self.subscriptions[id].state, WaitState::Waiting(_))
    }

    pub(crate) fn is_ending(&self, id: SubscriptionId) -> bool {
        self.subscriptions[id].ending
    }

    /// The position up to which a subscription that waits, or waited until it was woken, has missed
    /// nothing. A subscription that waits is as far as the tail.
    pub(crate) fn waited_to(&self, id: SubscriptionId, tail: Position) -> Option<Position> {
        self.subscriptions[id].state.waited_to(tail)
    }

    /// The same, and the subscription is busy from now on. The caller drops its waiter after the
    /// lock.
    pub(crate) fn stop_waiting(
        &mut self,
        id: SubscriptionId,
        tail: Position,
    ) -> (Option<Position>, Option<Waiter>) {
        let state = std::mem::take(&mut self.subscriptions[id].state);
        let waited_to = state.waited_to(tail);
        match state {
            WaitState::Waiting(waiter) => (waited_to, Some(waiter)),
            WaitState::Busy | WaitState::Woken { .. } => (waited_to, None),
        }
    }

    /// Makes a subscription that has caught up the one of a new group.
    pub(crate) fn become_group(
        &mut self,
        id: SubscriptionId,
        dispatcher: DispatcherId,
        group: GroupId,
    ) {
        let slot = &mut self.subscriptions[id];
        slot.is_group = true;
        slot.state = WaitState::Waiting(Waiter::Group(dispatcher, group));
        self.groups += 1;
    }

    /// How many streams are open: the subscriptions of tasks, and the members of groups.
    pub(crate) fn streams(&self) -> usize {
        let in_groups: usize = self.inboxes.values().map(DispatcherInbox::in_groups).sum();
        // The subscription of a group is in the table, but is no stream; its members are counted by
        // the inbox.
        self.subscriptions.len() + in_groups - self.groups
    }

    /// Lets one stream end when it has received everything.
    pub(crate) fn end_one(&mut self, id: SubscriptionId) {
        self.subscriptions[id].ending = true;
    }

    /// Lets up to `count` streams end when they have received everything. Returns how many those
    /// are, and the wakers to call.
    pub(crate) fn end(&mut self, count: usize, tail: Position) -> (usize, Vec<Waker>) {
        let (mut ended, mut wakers) = (0, Vec::new());
        // Linear in the number of subscriptions. A drain calls it a few times per second, each time
        // for a share of the streams.
        let open = self.subscriptions.values_mut().filter(|slot| slot.is_open_stream());
        for slot in open.take(count) {
            ended += 1;
            slot.ending = true;
            // A subscription that does not wait sees the flag when it has caught up.
            if let Some(Waiter::Task(waker)) = slot.take_waiter(tail) {
                wakers.push(waker);
            }
        }
        for inbox in self.inboxes.values_mut() {
            // Not below zero: `take(count)` bounds what ended so far, and an inbox ends at most
            // what it is asked for.
            let (more, waker) = inbox.end(count - ended);
            ended += more;
            wakers.extend(waker);
        }
        (ended, wakers)
    }
}

impl WaitSlot {
    fn is_open_stream(&self) -> bool {
        !self.ending && !self.is_group
    }

    /// The waiter, if the subscription waits. However long ago it was polled, it has missed nothing
    /// up to `tail`.
    fn take_waiter(&mut self, tail: Position) -> Option<Waiter> {
        if !matches!(self.state, WaitState::Waiting(_)) {
            return None;
        }
        let Position { generation, offset, nonce } = tail;
        let woken = WaitState::Woken { generation, offset, nonce };
        match std::mem::replace(&mut self.state, woken) {
            WaitState::Waiting(waiter) => Some(waiter),
            WaitState::Busy | WaitState::Woken { .. } => None,
        }
    }
}

impl WaitState {
    fn waited_to(&self, tail: Position) -> Option<Position> {
        match *self {
            Self::Busy => None,
            Self::Waiting(_) => Some(tail),
            Self::Woken { generation, offset, nonce } => {
                Some(Position { generation, offset, nonce })
            }
        }
    }
}
