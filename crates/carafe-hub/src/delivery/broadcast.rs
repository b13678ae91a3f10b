//! Broadcasts: sends what has come to all members of a group.
//!
//! The frames are joined once. A broadcast goes from member to member, some at a time, and other
//! turns come between. Members that join meanwhile are not reached by it, and do not need it.

use std::sync::Arc;

use bytes::Bytes;
use carafe_protocol::Position;
use smallvec::SmallVec;

use super::catch_up;
use super::delivery_state::DeliveryState;
use super::group_read;
use super::groups::NewBroadcast;
use super::ring_run::{NextRun, RingRun, next_of_group};
use super::roster::Roster;
use super::schedule::Turn;
use super::sink::{Sink, Written};
use crate::ids::{GroupId, SubscriberId};
use crate::state::HubState;
use crate::wakeups::Waiter;

/// Members that are sent a broadcast in one turn.
const MEMBERS: usize = 16;

/// Groups for which the lock is taken once.
const GROUPS: usize = 64;

/// Serves the turn of a group.
pub(super) fn serve(roster: &mut Roster, id: GroupId, sink: &mut impl Sink) {
    if roster.groups.broadcast(id).is_none() {
        start(roster, id);
    }
    let Some(broadcast) = roster.groups.broadcast(id) else { return };
    let (bytes, events, from) = (broadcast.bytes.clone(), broadcast.events, broadcast.from);
    for _ in 0..MEMBERS {
        let Some(member) = roster.groups.next_member(id) else { return end(roster, id) };
        send(roster, member, from, (&bytes, events), sink);
    }
    // A group whose last member has gone does not exist any more.
    if roster.groups.get(id).is_some() {
        roster.schedule.push(Turn::Group(id));
    }
}

/// Starts a broadcast for this group, if something has come for it.
fn start(roster: &mut Roster, id: GroupId) {
    if roster.group_reads.contains_key(&id) {
        group_read::poll(roster, id);
    } else {
        start_from_ring(roster, id);
    }
}

/// Starts broadcasts from the ring for this group and the next ones: the lock is taken once for all
/// of them.
fn start_from_ring(roster: &mut Roster, id: GroupId) {
    let next = roster.schedule.next_groups(GROUPS);
    let ids: SmallVec<[GroupId; GROUPS]> = std::iter::once(id).chain(next).collect();
    let hub = Arc::clone(&roster.hub);
    let mut found: SmallVec<[(GroupId, NextRun); GROUPS]> = SmallVec::new();
    let mut state = hub.state();
    for id in ids {
        let is_busy = roster.groups.broadcast(id).is_some() || roster.group_reads.contains_key(&id);
        if !is_busy {
            found.extend(collect(roster, &mut state, id).map(|next| (id, next)));
        }
    }
    drop(state);
    // The frames are joined without the lock.
    found.into_iter().for_each(|(id, next)| start_with(roster, id, next));
}

/// What the ring has for a group. A group that will have everything waits from now on: the waiter
/// is left under the same lock, so no entry is missed.
fn collect(roster: &mut Roster, state: &mut HubState, id: GroupId) -> Option<NextRun> {
    let group = roster.groups.get_mut(id)?;
    let registration = group.registration_mut();
    // The waiter of a group has no waker, so it may be dropped under the lock.
    let _waiter = state.stop_waiting(registration.id, &mut registration.cursor);
    let next = next_of_group(&roster.hub, state, group);
    let registration = group.registration_mut();
    if matches!(&next, NextRun::Nothing | NextRun::Run(RingRun { more: false, .. })) {
        state.wakeups.wait(registration.id, Waiter::Group(roster.dispatcher, id));
    }
    if matches!(&next, NextRun::Nothing) {
        registration.cursor.advance(state.core.tail());
    }
    Some(next)
}

fn start_with(roster: &mut Roster, id: GroupId, next: NextRun) {
    match next {
        NextRun::Run(run) => {
            let (up_to, last_entry, more) = (run.up_to, run.up_to.offset, run.more);
            let (bytes, events) = (run.bytes(), run.events());
            let new = NewBroadcast { bytes, events, up_to, last_entry, more };
            roster.groups.start_broadcast(id, new, roster.now);
        }
        NextRun::Hidden(position) => {
            let Some(group) = roster.groups.get_mut(id) else { return };
            group.skip_to(position);
            roster.schedule.push(Turn::Group(id));
        }
        NextRun::Behind => group_read::poll(roster, id),
        NextRun::Expired => roster.dissolve(id),
        NextRun::Nothing => {
            let Some(group) = roster.groups.get_mut(id) else { return };
            group.unqueue();
        }
    }
}

fn end(roster: &mut Roster, id: GroupId) {
    if roster.groups.end_broadcast(id) {
        roster.schedule.push(Turn::Group(id));
    }
}

/// Sends a broadcast to a member, unless the member has it already or is catching up.
fn send(
    roster: &mut Roster,
    id: SubscriberId,
    from: Position,
    (bytes, events): (&Bytes, u32),
    sink: &mut impl Sink,
) {
    let member = match roster.members.get_mut(id) {
        Some(DeliveryState::InGroup(member)) => member,
        Some(DeliveryState::CatchingUp(_)) => return skip(roster, id, from),
        Some(DeliveryState::Replaying(_)) | None => return,
    };
    let Some(group) = roster.groups.get(member.place.group) else { return };
    if member.broadcast == group.number() {
        return;
    }
    // The group waited up to `from`, so up to there nothing came for the member.
    member.ahead_to.take_if(|ahead_to| ahead_to.offset <= from.offset);
    if member.ahead_to.is_some() {
        return send_rest_to_ahead(roster, id, sink);
    }
    member.broadcast = group.number();
    match sink.write(id, bytes, events) {
        Written::Bytes(written) if written == bytes.len() => {}
        Written::Bytes(written) => {
            let (position, number) = (group.cursor().position, Some(group.number()));
            roster.fall_behind(id, (bytes.slice(written..), events), position, number);
        }
        Written::Gone => roster.remove(id),
    }
}

/// A broadcast begins where the group has waited to. A member that is catching up and had
/// everything before has waited with it; now it lacks this broadcast.
fn skip(roster: &mut Roster, id: SubscriberId, from: Position) {
    let Some(DeliveryState::CatchingUp(member)) = roster.members.get_mut(id) else { return };
    let Some(group) = roster.groups.get(member.place.group) else { return };
    if member.broadcast.take_if(|number| *number != group.number()).is_some()
        && from.offset > member.resume_after.offset
    {
        member.resume_after = from;
    }
}

/// Sends a member that is ahead of its group the part of a broadcast that it does not have.
fn send_rest_to_ahead(roster: &mut Roster, id: SubscriberId, sink: &mut impl Sink) {
    let Some(DeliveryState::InGroup(member)) = roster.members.get_mut(id) else { return };
    let Some(group) = roster.groups.get(member.place.group) else { return };
    member.broadcast = group.number();
    let up_to = group.cursor().position;
    let Some(ahead_to) = member.ahead_to.take_if(|ahead_to| ahead_to.offset < up_to.offset) else {
        return;
    };
    roster.fall_behind(id, (Bytes::new(), 0), *ahead_to, None);
    catch_up::serve(roster, id, sink);
}
