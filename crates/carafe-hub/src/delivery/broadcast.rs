//! Broadcasts: sends what has come to all members of a group.
//!
//! The frames are joined once. A broadcast goes from member to member, some at a time, and other
//! turns come between. Members that join meanwhile are not reached by it, and do not need it.

use std::sync::Arc;

use carafe_protocol::Position;
use smallvec::SmallVec;

use super::catch_up;
use super::delivery_state::{DeliveryState, Rest};
use super::group_read;
use super::groups::{Broadcast, NewBroadcast};
use super::ring_run::{NextRun, RingRun, next_of_group};
use super::roster::Roster;
use super::schedule::Turn;
use super::sink::{Sink, Written};
use crate::ids::{GroupId, SubscriberId};
use crate::recent_erasures::ErasureStamp;
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
    if roster.hub.erasures.may_have_erased(broadcast.topics, broadcast.erasures) {
        // Each member continues by itself, from where it is.
        return roster.dissolve(id);
    }
    let broadcast = broadcast.clone();
    for _ in 0..MEMBERS {
        let Some(member) = roster.groups.next_member(id) else { return end(roster, id) };
        let is_sent = send(roster, member, &broadcast, sink);
        if is_sent && broadcast.is_last {
            roster.let_end(member);
        }
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
    } else if roster.groups.is_queued(id) {
        start_from_ring(roster, id);
    }
    // Else the group's turn is stale: it was served together with another one.
}

/// Starts broadcasts from the ring for this group and the next ones: the lock is taken once for all
/// of them.
fn start_from_ring(roster: &mut Roster, id: GroupId) {
    let ids = due_groups(roster, id);
    let hub = Arc::clone(&roster.hub);
    let erasures = hub.erasures.stamp();
    let mut found: SmallVec<[(GroupId, NextRun); GROUPS]> = SmallVec::new();
    let mut state = hub.state();
    for id in ids {
        found.extend(collect(roster, &mut state, id).map(|next| (id, next)));
    }
    drop(state);
    // The frames are joined without the lock.
    found.into_iter().for_each(|(id, next)| start_with(roster, id, next, erasures));
}

/// This group and those of the next turns that a broadcast may start for, each once: a group may
/// have several turns in the queue, and a second look would take the first for a wait that is over.
fn due_groups(roster: &Roster, id: GroupId) -> SmallVec<[GroupId; GROUPS]> {
    let next = roster.schedule.next_groups(GROUPS);
    let mut ids: SmallVec<[GroupId; GROUPS]> = std::iter::once(id).chain(next).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.retain(|id| {
        let is_busy = roster.groups.broadcast(*id).is_some() || roster.group_reads.contains_key(id);
        roster.groups.is_queued(*id) && !is_busy
    });
    ids
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

fn start_with(roster: &mut Roster, id: GroupId, next: NextRun, erasures: ErasureStamp) {
    match next {
        NextRun::Run(run) => {
            let (up_to, last_entry, more) = (run.up_to, run.up_to.offset, run.more);
            let (bytes, events, topics) = (run.bytes(), run.events(), run.topics());
            let is_over = || roster.groups.get(id).is_some_and(|group| group.is_over(up_to));
            let is_last = run.has_end && is_over();
            let new =
                NewBroadcast { bytes, events, topics, erasures, up_to, last_entry, more, is_last };
            roster.groups.start_broadcast(id, new, roster.now);
        }
        NextRun::Hidden(position) => {
            let Some(group) = roster.groups.get_mut(id) else { return };
            group.skip_to(position);
            roster.schedule.push(Turn::Group(id));
        }
        NextRun::Behind => group_read::poll(roster, id),
        NextRun::Gone => roster.dissolve(id),
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

/// Sends a broadcast to a member, unless the member has it already or is catching up. Whether the
/// member has it now, or has it when its client has taken the rest.
fn send(
    roster: &mut Roster,
    id: SubscriberId,
    broadcast: &Broadcast,
    sink: &mut impl Sink,
) -> bool {
    let from = broadcast.from;
    let member = match roster.members.get_mut(id) {
        Some(DeliveryState::InGroup(member)) => member,
        Some(DeliveryState::CatchingUp(_)) => {
            skip(roster, id, from);
            return false;
        }
        Some(DeliveryState::Replaying(_)) | None => return false,
    };
    let Some(group) = roster.groups.get(member.place.group) else { return false };
    if member.broadcast == group.number() {
        return false;
    }
    // The group waited up to `from`, so up to there nothing came for the member.
    member.ahead_to.take_if(|ahead_to| ahead_to.offset <= from.offset);
    if member.ahead_to.is_some() {
        send_rest_to_ahead(roster, id, sink);
        return false;
    }
    member.broadcast = group.number();
    match sink.write(id, &broadcast.bytes, broadcast.events) {
        Written::Bytes(written) if written == broadcast.bytes.len() => {}
        Written::Bytes(written) => {
            let (position, number) = (group.cursor().position, Some(group.number()));
            roster.fall_behind(id, broadcast.rest(written), position, number);
        }
        Written::Gone => {
            roster.remove(id);
            return false;
        }
    }
    true
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
    roster.fall_behind(id, Rest::default(), *ahead_to, None);
    catch_up::serve(roster, id, sink);
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use carafe_log::{MemoryLog, Publication};
    use carafe_protocol::Topic;

    use super::*;
    use crate::format::Format;
    use crate::hub::Hub;
    use crate::paged_table::TableKey;

    struct Clients;

    impl Sink for Clients {
        fn write(&mut self, _: SubscriberId, bytes: &[u8], _events: u32) -> Written {
            Written::Bytes(bytes.len())
        }

        fn ended(&mut self, _: SubscriberId, _failed: bool) {}
    }

    /// Groups of one member each, which have received everything.
    async fn groups(hub: &Hub, count: usize) -> (Roster, Vec<GroupId>) {
        let mut roster = Roster::new(Arc::clone(&hub.inner), Waker::noop().clone());
        for number in 0..count {
            let topic = format!("topic-{number}");
            let frames = hub.subscribe(topic.as_str()).await.unwrap().into_frames(Format::Plain);
            let id = roster.add(frames);
            while !matches!(roster.members.get(id), Some(DeliveryState::InGroup(_))) {
                super::super::replay::serve(&mut roster, id, &mut Clients);
            }
        }
        while roster.schedule.pop().is_some() {}
        let place = |index| roster.members.place(SubscriberId::from_index(index)).unwrap().group;
        let ids = (0..count).map(place).collect();
        (roster, ids)
    }

    fn serve_next(roster: &mut Roster) {
        let Some(Turn::Group(id)) = roster.schedule.pop() else { panic!("no turn of a group") };
        serve(roster, id, &mut Clients);
    }

    #[tokio::test]
    async fn the_turns_of_groups_that_were_found_idle_together_are_stale() {
        let (mut roster, ids) = groups(&Hub::new(MemoryLog::default()), 3).await;
        ids.iter().for_each(|id| roster.touch(*id));
        serve_next(&mut roster);
        assert_eq!(roster.schedule.next_groups(GROUPS).collect::<Vec<_>>(), ids[1..]);
        assert!(due_groups(&roster, ids[1]).is_empty());
    }

    #[tokio::test]
    async fn a_group_with_a_stale_turn_is_looked_at_once() {
        let hub = Hub::new(MemoryLog::default());
        let (mut roster, ids) = groups(&hub, 2).await;
        ids.iter().for_each(|id| roster.touch(*id));
        serve_next(&mut roster);
        let topic = Topic::new("topic-1").unwrap();
        hub.publish(Publication::new(topic, "data")).await.unwrap();
        roster.touch(ids[1]);
        assert_eq!(roster.schedule.next_groups(GROUPS).collect::<Vec<_>>(), [ids[1], ids[1]]);
        start_from_ring(&mut roster, ids[1]);
        let broadcast = roster.groups.broadcast(ids[1]).unwrap();
        assert_eq!(broadcast.from.offset, 0, "the broadcast begins after its own events");
        assert!(roster.groups.is_queued(ids[1]));
    }
}
