//! Serves a subscriber with a subscription of its own: it replays history, or reports something
//! that others do not receive.

use super::delivery_state::{DeliveryState, ReplayPhase};
use super::roster::Roster;
use super::schedule::Turn;
use super::sink::Sink;
use crate::ids::SubscriberId;

/// Chunks that one subscriber is sent in one turn.
const CHUNKS_AT_ONCE: usize = 4;

/// Sends what the subscription has. A subscriber that has caught up joins a group.
pub(super) fn serve(roster: &mut Roster, id: SubscriberId, sink: &mut impl Sink) {
    for _ in 0..CHUNKS_AT_ONCE {
        let is_written = write_rest_or_end(roster, id, sink);
        let Some(replaying) = roster.members.replaying(id) else { return };
        if !is_written {
            return replaying.poll_log();
        }
        if replaying.left_group.is_some() {
            // The group's subscription had no client of its own.
            let client = &mut replaying.frames.subscription.client;
            *client = client.or_else(|| sink.client(id));
        }
        if !replaying.take_next() {
            return roster.join_group(id);
        }
        replaying.sent = roster.now;
    }
    if write_rest_or_end(roster, id, sink) {
        roster.schedule.push(Turn::Subscriber(id));
    }
}

/// The same as [`Roster::write_rest`]. A stream that has nothing more ends then.
fn write_rest_or_end(roster: &mut Roster, id: SubscriberId, sink: &mut impl Sink) -> bool {
    if !roster.write_rest(id, sink) {
        return false;
    }
    let Some(DeliveryState::Replaying(replaying)) = roster.members.get(id) else { return false };
    if replaying.phase != ReplayPhase::Finishing {
        return true;
    }
    let failed = replaying.frames.has_failed();
    roster.remove(id);
    sink.ended(id, failed);
    false
}
