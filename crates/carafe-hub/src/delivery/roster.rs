//! The subscribers of a dispatcher and their groups, and the transitions between delivery states.
//!
//! Invariants, which every function here keeps:
//! - A subscriber that is in a group or catching up is in the member list of its group, at its
//!   place. A group has at least one member.
//! - The dispatcher's inbox in the hub counts these subscribers, and the subscription of each group
//!   counts as no stream. A subscriber that replays is a subscription of its own. So the hub's
//!   number of streams is right at any time.
//! - The cursor of a group is not beyond the ring. Nor is a member of a group that waits: a
//!   subscriber that joins is at the tail of the ring.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Waker;

use carafe_log::ReadError;
use carafe_protocol::Position;

use super::delivery_state::{
    CatchingUp, DeliveryState, GroupPlace, InGroup, LeftGroup, ReplayPhase, Replaying, Rest,
};
use super::groups::{Group, Groups};
use super::members::Members;
use super::schedule::{Schedule, Turn};
use super::sink::{Sink, Tick, Written};
use crate::ids::{DispatcherId, GroupId, SubscriberId};
use crate::inner::HubInner;
use crate::subscription::cursor::Cursor;
use crate::subscription::frames::Frames;
use crate::subscription::registration::Registration;
use crate::subscription::replay::{Pending, ReplayBlock};
use crate::subscription::stream::Subscription;

/// The subscribers of a dispatcher, their groups and whose turn it is.
pub(super) struct Roster {
    pub(super) hub: Arc<HubInner>,
    pub(super) dispatcher: DispatcherId,
    pub(super) now: Tick,
    pub(super) members: Members,
    pub(super) groups: Groups,
    /// Blocks of the log that are being read for groups that the ring does not reach back to.
    pub(super) group_reads: HashMap<GroupId, Pending<Result<ReplayBlock, ReadError>>>,
    pub(super) schedule: Schedule,
}

impl Roster {
    pub(super) fn new(hub: Arc<HubInner>, waker: Waker) -> Self {
        let dispatcher = hub.state().wakeups.add_dispatcher(waker.clone());
        Self {
            hub,
            dispatcher,
            now: 0,
            members: Members::new(),
            groups: Groups::new(),
            group_reads: HashMap::new(),
            schedule: Schedule::new(waker),
        }
    }

    /// Adds a subscriber. It replays until it has caught up.
    pub(super) fn add(&mut self, frames: Frames) -> SubscriberId {
        let id = self.members.next_id();
        let replaying = Replaying {
            frames,
            waker: self.schedule.waker(Turn::Subscriber(id)),
            rest: Rest::default(),
            phase: ReplayPhase::Open,
            sent: self.now,
            left_group: None,
        };
        self.members.insert(DeliveryState::Replaying(Box::new(replaying)));
        self.schedule.push(Turn::Subscriber(id));
        id
    }

    /// Removes a subscriber.
    pub(super) fn remove(&mut self, id: SubscriberId) {
        let place = self.members.place(id);
        let removed = self.members.remove(id);
        if let Some(place) = place {
            self.hub.state().wakeups.inbox(self.dispatcher).remove_member();
            self.vacate(place);
        }
        // Without the hub's lock: dropping a subscription takes it.
        drop(removed);
    }

    /// `Replaying` → `InGroup`: the subscription has caught up.
    pub(super) fn join_group(&mut self, id: SubscriberId) {
        let Some(replaying) = self.members.replaying(id) else { return };
        if replaying.phase != ReplayPhase::Open || !replaying.frames.subscription.is_live() {
            return;
        }
        let found = find_group(&self.hub, self.dispatcher, &self.groups, &mut replaying.frames);
        let (group_id, ahead_to) = match found {
            Found::Group(group_id, ahead_to) => (group_id, ahead_to),
            Found::MoreToDo => return self.schedule.push(Turn::Subscriber(id)),
            Found::AheadOfRing => return,
        };
        let (last_sent, sent) = (replaying.last_sent(), replaying.sent);
        let group = self.groups.get(group_id);
        let (broadcast, at) = group.map_or((0, 0), |group| (group.number(), group.members().len()));
        let place = GroupPlace { group: group_id, at: at as u32 };
        let joined =
            DeliveryState::InGroup(InGroup { place, broadcast, sent, last_sent, ahead_to });
        let Some(state) = self.members.get_mut(id) else { return };
        let DeliveryState::Replaying(replaying) = std::mem::replace(state, joined) else { return };
        if self.groups.get(group_id).is_none() {
            let Frames { subscription, format, heartbeat, .. } = replaying.frames;
            self.groups.insert(subscription.registration, format, heartbeat);
        }
        if let Some(group) = self.groups.get_mut(group_id) {
            group.add_member(id);
        }
    }

    /// `InGroup` or `CatchingUp` → `Replaying`: the subscriber gets a subscription of its own, at
    /// the position up to which it has everything.
    pub(super) fn leave_group(&mut self, id: SubscriberId) {
        let Some(state) = self.members.get_mut(id) else { return };
        let Some(place) = state.place() else { return };
        let (rest, position, last_sent, sent) = match state {
            DeliveryState::InGroup(member) => {
                let position = self.groups.position_of(member);
                (Rest::default(), position, member.last_sent, self.now)
            }
            DeliveryState::CatchingUp(member) => {
                let position = self.groups.position_after_rest(member);
                let rest = std::mem::take(&mut member.rest);
                (rest, position, member.last_sent, member.sent)
            }
            DeliveryState::Replaying(_) => return,
        };
        let Some(group) = self.groups.get(place.group) else { return };
        let frames = own_subscription(&self.hub, self.dispatcher, group, position);
        // Entries that the group was sent after the position were not sent to this subscriber.
        let was_sent = group.last_sent() <= position.offset;
        let last_sent = if was_sent { last_sent.max(group.last_sent()) } else { last_sent };
        let replaying = Replaying {
            frames,
            waker: self.schedule.waker(Turn::Subscriber(id)),
            rest,
            phase: ReplayPhase::Open,
            sent,
            left_group: Some(LeftGroup { resumed_after: position.offset, last_sent }),
        };
        *state = DeliveryState::Replaying(Box::new(replaying));
        self.vacate(place);
    }

    /// `InGroup` → `CatchingUp`: the client took only a part of what brings the subscriber to
    /// `resume_after`, and to the end of `broadcast`.
    pub(super) fn fall_behind(
        &mut self,
        id: SubscriberId,
        rest: Rest,
        resume_after: Position,
        broadcast: Option<u32>,
    ) {
        let Some(state) = self.members.get_mut(id) else { return };
        if let DeliveryState::InGroup(InGroup { place, last_sent, .. }) = *state {
            let sent = self.now;
            *state = DeliveryState::CatchingUp(Box::new(CatchingUp {
                place,
                rest,
                resume_after,
                broadcast,
                last_sent,
                sent,
            }));
        }
    }

    /// All members of a group get subscriptions of their own: each has to report a gap, or that the
    /// log cannot be read.
    pub(super) fn dissolve(&mut self, id: GroupId) {
        let Some(group) = self.groups.get(id) else { return };
        for member in group.members().to_vec() {
            self.leave_group(member);
            self.schedule.push(Turn::Subscriber(member));
        }
    }

    /// The end of the last topic of a member was sent. Its stream ends when it has taken the rest,
    /// unless a topic is reopened before.
    pub(super) fn let_end(&mut self, id: SubscriberId) {
        self.leave_group(id);
        if let Some(replaying) = self.members.replaying(id) {
            replaying.frames.may_be_over();
        }
        self.schedule.push(Turn::Subscriber(id));
    }

    /// Something came for a group.
    pub(super) fn touch(&mut self, id: GroupId) {
        if self.groups.get_mut(id).is_some_and(Group::touch) {
            self.schedule.push(Turn::Group(id));
        }
    }

    /// Lets `count` members of groups end, each when it has received everything.
    pub(super) fn end(&mut self, count: usize) {
        for id in self.members.next_in_groups(count) {
            self.leave_group(id);
            if let Some(replaying) = self.members.replaying(id) {
                let subscription = replaying.frames.subscription.registration.id;
                self.hub.state().wakeups.end_one(subscription);
            }
            self.schedule.push(Turn::Subscriber(id));
        }
    }

    /// Writes the rest of what was begun; whether that is all of it.
    pub(super) fn write_rest(&mut self, id: SubscriberId, sink: &mut impl Sink) -> bool {
        let rest = self.members.get_mut(id).and_then(DeliveryState::rest_mut);
        let Some((rest, sent)) = rest else { return false };
        if rest.is_empty() {
            return true;
        }
        if rest.may_be_erased(&self.hub.erasures) {
            // A chunk cannot be taken back. The client reconnects, and learns that there is a gap.
            self.remove(id);
            sink.ended(id, true);
            return false;
        }
        match sink.write(id, &rest.bytes, rest.events) {
            Written::Bytes(written) => {
                rest.advance(written);
                if written > 0 {
                    *sent = self.now;
                }
                rest.is_empty()
            }
            Written::Gone => {
                self.remove(id);
                false
            }
        }
    }

    /// Removes a member from the list of its group, and a group without members.
    fn vacate(&mut self, place: GroupPlace) {
        let Some(group) = self.groups.get_mut(place.group) else { return };
        let moved = group.remove_member(place.at);
        if group.members().is_empty() {
            self.group_reads.remove(&place.group);
            drop(self.groups.remove(place.group));
        } else if let Some(moved) = moved.and_then(|moved| self.members.get_mut(moved)) {
            moved.set_place(place);
        }
    }
}

impl Drop for Roster {
    fn drop(&mut self) {
        // The subscriptions of groups name the dispatcher as their waiter, so they leave the hub
        // before the dispatcher does.
        self.members.clear();
        self.groups = Groups::new();
        let inbox = self.hub.state().wakeups.remove_dispatcher(self.dispatcher);
        // After the lock: it drops a waker.
        drop(inbox);
    }
}

/// What `find_group` has found for a subscription that waits.
enum Found {
    /// Its group; if that is new, the ID that it will have. And the position of the subscription,
    /// if that is ahead of the group's.
    Group(GroupId, Option<Box<Position>>),
    /// Something has come for it since, or it has to end.
    MoreToDo,
    /// It resumes after an entry that the log is about to pass on. A group waits where the ring
    /// ends, and would send it that entry. So it waits by itself.
    AheadOfRing,
}

/// Finds the group for a subscription that waits.
fn find_group(
    hub: &HubInner,
    dispatcher: DispatcherId,
    groups: &Groups,
    frames: &mut Frames,
) -> Found {
    let Registration { id, cursor, .. } = &mut frames.subscription.registration;
    // Declared before the lock guard, and so dropped after it.
    let (has_caught_up, _waiter);
    let mut state = hub.state();
    if cursor.position.offset > state.core.tail().offset {
        return Found::AheadOfRing;
    }
    (has_caught_up, _waiter) = state.has_caught_up(*id, cursor);
    if !has_caught_up {
        return Found::MoreToDo;
    }
    state.wakeups.inbox(dispatcher).add_member();
    let Some(known) = groups.find(&cursor.interest, frames.format, frames.heartbeat) else {
        state.wakeups.become_group(*id, dispatcher, groups.next_id());
        return Found::Group(groups.next_id(), None);
    };
    let group_waits =
        groups.get(known).is_some_and(|group| state.wakeups.is_waiting(group.registration().id));
    Found::Group(known, (!group_waits).then(|| Box::new(cursor.position)))
}

/// A subscription of its own for a member that has everything up to `position`.
fn own_subscription(
    hub: &Arc<HubInner>,
    dispatcher: DispatcherId,
    group: &Group,
    position: Position,
) -> Frames {
    let mut state = hub.state();
    let ends = state.wakeups.inbox(dispatcher).remove_member();
    let (id, interest) = state.subscribe_like(group.interest());
    let mut cursor = Cursor { interest, position };
    if position.offset >= group.cursor().position.offset {
        // The member has waited with its group. The group's cursor stays where the wait began.
        let waited_to = state.waited_to(group.registration().id);
        waited_to.into_iter().for_each(|position| cursor.advance(position));
    }
    if ends {
        state.wakeups.end_one(id);
    }
    drop(state);
    let registration = Registration { hub: Arc::clone(hub), id, cursor };
    Subscription::resumed(registration)
        .into_frames(group.format())
        .with_heartbeat(group.heartbeat())
}
