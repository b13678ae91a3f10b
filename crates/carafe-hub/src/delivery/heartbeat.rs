//! Heartbeats for subscribers that were sent nothing for a while.

use bytes::Bytes;
use carafe_protocol::{HEARTBEAT, Position};

use super::delivery_state::DeliveryState;
use super::roster::Roster;
use super::sink::{Sink, Tick, Written};
use crate::format::Format;
use crate::frame::Frame;
use crate::ids::SubscriberId;

/// The bytes of heartbeats, encoded once for all subscribers.
pub(super) struct HeartbeatFrames {
    heartbeat: Bytes,
    /// The last position that was sent in place of a heartbeat.
    position: Option<(Format, Position, Bytes)>,
}

impl HeartbeatFrames {
    pub(super) fn new() -> Self {
        Self { heartbeat: Frame::chunked(HEARTBEAT).chunk().clone(), position: None }
    }

    fn position(&mut self, format: Format, position: Position) -> Bytes {
        match &self.position {
            Some((known, sent, chunk)) if (*known, *sent) == (format, position) => chunk.clone(),
            _ => {
                let chunk = format.position(position).chunk().clone();
                self.position = Some((format, position, chunk.clone()));
                chunk
            }
        }
    }
}

/// Sends a heartbeat to a subscriber that was sent nothing for `silence`: its position, if that has
/// moved.
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
    if let Some(replaying) = roster.members.replaying(id)
        && replaying.frames.subscription.gives_up_waiting()
    {
        return replaying.waker.wake_by_ref();
    }
    let moved = moved_position(roster, id);
    let bytes = match moved {
        Some((format, position)) => frames.position(format, position),
        None => frames.heartbeat.clone(),
    };
    match sink.write(id, &bytes, 0) {
        Written::Bytes(written) => {
            let position = moved.map(|(_, position)| position);
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

/// The position up to which the subscriber has everything, if it was not sent that position yet.
fn moved_position(roster: &Roster, id: SubscriberId) -> Option<(Format, Position)> {
    let DeliveryState::InGroup(member) = roster.members.get(id)? else { return None };
    let group = roster.groups.get(member.place.group)?;
    // A broadcast is under way and has not reached the subscriber.
    let lacks_broadcast =
        member.broadcast != group.number() && roster.groups.broadcast(member.place.group).is_some();
    if !group.format().states_position() || lacks_broadcast {
        return None;
    }
    let state = roster.hub.state();
    let tail = state.core.tail();
    let has_moved = tail.offset > member.last_sent.max(group.last_sent());
    // Only a group that waits has everything up to the tail.
    (has_moved && state.wakeups.is_waiting(group.registration().id))
        .then_some((group.format(), tail))
}

fn after_write(roster: &mut Roster, id: SubscriberId, rest: Bytes, position: Option<Position>) {
    match roster.members.get_mut(id) {
        Some(DeliveryState::InGroup(member)) => {
            member.sent = roster.now;
            let resume_after = position.unwrap_or_else(|| roster.groups.position_of(member));
            if let Some(position) = position {
                member.last_sent = position.offset;
            }
            if !rest.is_empty() {
                let broadcast = Some(member.broadcast);
                roster.fall_behind(id, (rest, 0), resume_after, broadcast);
            }
        }
        Some(DeliveryState::Replaying(replaying)) => {
            replaying.sent = roster.now;
            (replaying.rest, replaying.rest_events) = (rest, 0);
        }
        Some(DeliveryState::CatchingUp(_)) | None => {}
    }
}
