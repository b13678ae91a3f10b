//! Heartbeats for subscribers that were sent nothing for a while.

use bytes::Bytes;
use carafe_protocol::{HEARTBEAT, Position};

use super::delivery_state::{DeliveryState, InGroup, Rest};
use super::roster::Roster;
use super::sink::{Sink, Tick, Written};
use crate::format::Format;
use crate::frame::Frame;
use crate::heartbeat::Heartbeat;
use crate::ids::SubscriberId;

/// The bytes of heartbeats, encoded once for all subscribers.
pub(super) struct HeartbeatFrames {
    comment: Bytes,
    /// The last position that was stated.
    stated: Option<(Stated, Bytes)>,
}

/// A position that a heartbeat states.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stated {
    format: Format,
    position: Position,
    /// As `carafe.heartbeat`, else as `carafe.position`.
    is_event: bool,
}

impl HeartbeatFrames {
    pub(super) fn new() -> Self {
        Self { comment: Frame::chunked(HEARTBEAT).chunk().clone(), stated: None }
    }

    fn chunk(&mut self, stated: Option<Stated>) -> Bytes {
        let Some(new) = stated else { return self.comment.clone() };
        match &self.stated {
            Some((last, chunk)) if *last == new => chunk.clone(),
            _ => {
                let Stated { format, position, is_event } = new;
                let frame =
                    if is_event { format.heartbeat(position) } else { format.position(position) };
                let chunk = frame.chunk().clone();
                self.stated = Some((new, chunk.clone()));
                chunk
            }
        }
    }
}

/// What the subscriber wants after a silence; `None` while its client takes less than there is.
pub(super) fn requested(roster: &Roster, id: SubscriberId) -> Option<Heartbeat> {
    match roster.members.get(id)? {
        DeliveryState::InGroup(member) => Some(roster.groups.get(member.place.group)?.heartbeat()),
        DeliveryState::CatchingUp(_) => None,
        DeliveryState::Replaying(replaying) => Some(replaying.frames.heartbeat),
    }
}

/// Sends a heartbeat to a subscriber that was sent nothing for `silence`: the event that it has
/// requested, else its position, if that has moved.
pub(super) fn send(
    roster: &mut Roster,
    frames: &mut HeartbeatFrames,
    id: SubscriberId,
    silence: Tick,
    sink: &mut impl Sink,
) {
    if silence_of(roster, id).is_none_or(|silent| silent < silence) {
        return;
    }
    // One that was ahead of the ring when it had caught up may have waited by itself since.
    roster.join_group(id);
    let stated = stated(roster, id);
    let bytes = frames.chunk(stated);
    match sink.write(id, &bytes, 0) {
        Written::Bytes(written) => {
            let position = stated.map(|stated| stated.position);
            after_write(roster, id, bytes.slice(written..), position);
        }
        Written::Gone => roster.remove(id),
    }
}

/// For how long the subscriber was sent nothing; `None` if it has a rest that its client has not
/// taken.
fn silence_of(roster: &Roster, id: SubscriberId) -> Option<Tick> {
    let since = |sent| roster.now.wrapping_sub(sent);
    match roster.members.get(id)? {
        DeliveryState::InGroup(member) => {
            let group = roster.groups.get(member.place.group)?;
            Some(since(member.sent).min(since(group.sent())))
        }
        DeliveryState::CatchingUp(_) => None,
        DeliveryState::Replaying(replaying) => {
            replaying.rest.is_empty().then(|| since(replaying.sent))
        }
    }
}

/// The position that the heartbeat states, if it states one.
fn stated(roster: &Roster, id: SubscriberId) -> Option<Stated> {
    match roster.members.get(id)? {
        DeliveryState::InGroup(member) => in_group(roster, member),
        DeliveryState::CatchingUp(_) => None,
        DeliveryState::Replaying(replaying) => {
            let (format, heartbeat) = (replaying.frames.format, replaying.frames.heartbeat);
            let position = replaying.frames.subscription.resumes_after()?;
            heartbeat.is_event().then_some(Stated { format, position, is_event: true })
        }
    }
}

/// The position up to which the member has everything, if it was not sent that position yet, or
/// wants an event.
fn in_group(roster: &Roster, member: &InGroup) -> Option<Stated> {
    let group = roster.groups.get(member.place.group)?;
    let (format, is_event) = (group.format(), group.heartbeat().is_event());
    if !format.states_position() {
        return None;
    }
    // A broadcast is under way and has not reached the subscriber.
    let lacks_broadcast =
        member.broadcast != group.number() && roster.groups.broadcast(member.place.group).is_some();
    if !lacks_broadcast {
        let state = roster.hub.state();
        let tail = state.core.tail();
        let has_moved = tail.offset > member.last_sent.max(group.last_sent());
        // Only a group that waits has everything up to the tail.
        if (has_moved || is_event) && state.wakeups.is_waiting(group.registration().id) {
            return Some(Stated { format, position: tail, is_event });
        }
    }
    let position = roster.groups.position_of(member);
    is_event.then_some(Stated { format, position, is_event })
}

fn after_write(roster: &mut Roster, id: SubscriberId, rest: Bytes, position: Option<Position>) {
    match roster.members.get_mut(id) {
        Some(DeliveryState::InGroup(member)) => {
            member.sent = roster.now;
            let resume_after = position.unwrap_or_else(|| roster.groups.position_of(member));
            if let Some(position) = position {
                member.last_sent = member.last_sent.max(position.offset);
            }
            if !rest.is_empty() {
                let broadcast = Some(member.broadcast);
                roster.fall_behind(id, Rest::report(rest), resume_after, broadcast);
            }
        }
        Some(DeliveryState::Replaying(replaying)) => {
            replaying.sent = roster.now;
            replaying.rest = Rest::report(rest);
        }
        Some(DeliveryState::CatchingUp(_)) | None => {}
    }
}
