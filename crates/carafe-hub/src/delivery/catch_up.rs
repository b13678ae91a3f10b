//! Serves a subscriber that is catching up: its client takes less than there is.

use super::delivery_state::{CatchingUp, DeliveryState, InGroup, Rest};
use super::ring_run::{NextRun, RingRun, next_of_member};
use super::roster::Roster;
use super::schedule::Turn;
use super::sink::Sink;
use crate::ids::SubscriberId;

/// Finishes what was begun, and then catches up with the group from the ring.
pub(super) fn serve(roster: &mut Roster, id: SubscriberId, sink: &mut impl Sink) {
    if !roster.write_rest(id, sink) {
        return;
    }
    let Some(DeliveryState::CatchingUp(member)) = roster.members.get_mut(id) else { return };
    let Some(group) = roster.groups.get(member.place.group) else { return };
    let position = roster.groups.position_after_rest(member);
    let stamp = roster.hub.erasures.stamp();
    match next_of_member(&roster.hub, group, position) {
        NextRun::Nothing => {
            let CatchingUp { place, last_sent, sent, .. } = **member;
            // Before the member fell behind, it may have joined ahead of its group.
            let is_ahead = position.offset > group.cursor().position.offset;
            let ahead_to = is_ahead.then(|| Box::new(position));
            let caught_up = InGroup { place, broadcast: group.number(), sent, last_sent, ahead_to };
            if let Some(state) = roster.members.get_mut(id) {
                *state = DeliveryState::InGroup(caught_up);
            }
        }
        NextRun::Run(run) => {
            let number = group.number();
            let rest = Rest::new(run.bytes(), run.events(), run.topics(), stamp);
            begin_run(member, &run, rest, number);
            member.sent = roster.now;
            // A stream that may be over writes its rest as a subscription of its own.
            if run.has_end && group.is_over(run.up_to) {
                return roster.let_end(id);
            }
            if roster.write_rest(id, sink) {
                roster.schedule.push(Turn::Subscriber(id));
            }
        }
        NextRun::Hidden(position) => {
            (member.resume_after, member.broadcast) = (position, None);
            roster.schedule.push(Turn::Subscriber(id));
        }
        NextRun::Behind | NextRun::Gone => {
            roster.leave_group(id);
            roster.schedule.push(Turn::Subscriber(id));
        }
    }
}

/// The run becomes the rest that has to be written. If there is no more, the member has everything
/// up to the group's last broadcast then.
fn begin_run(member: &mut CatchingUp, run: &RingRun, rest: Rest, number: u32) {
    member.rest = rest;
    (member.resume_after, member.last_sent) = (run.up_to, run.up_to.offset);
    member.broadcast = (!run.more).then_some(number);
}
