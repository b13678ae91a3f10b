//! Reads the log for groups that the ring does not reach back to: once for all their members.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use carafe_log::Entry;

use super::groups::NewBroadcast;
use super::ring_run::{concat, topics_of};
use super::roster::Roster;
use super::schedule::Turn;
use crate::frame::Frame;
use crate::ids::GroupId;
use crate::inner::Presence;
use crate::recent_erasures::ErasureStamp;
use crate::report;
use crate::subscription::replay::{ReplayBlock, read_block};

/// Starts or continues to read the log for a group. With the answer, it starts a broadcast.
pub(super) fn poll(roster: &mut Roster, id: GroupId) {
    let Roster { hub, groups, group_reads, schedule, .. } = roster;
    let Some(group) = groups.get(id) else { return };
    // A read for one member counts as its client's; a read for several counts as that of an unknown
    // client.
    let client = group.interest().client().filter(|_| group.members().len() == 1);
    let reading = group_reads.entry(id).or_insert_with(|| {
        let matchers = hub.state().core.matchers(group.interest());
        read_block(Arc::clone(hub), client, group.cursor().position.offset, matchers)
    });
    let waker = schedule.waker(Turn::Group(id));
    let Poll::Ready(read) = Pin::new(reading).poll(&mut Context::from_waker(&waker)) else {
        return;
    };
    group_reads.remove(&id);
    match read {
        Ok(mut block) => {
            // Without the erasures that have come since, the block is read again.
            let erasures = roster.hub.erasures.stamp();
            if block.apply_erasures(&roster.hub.erasures) {
                broadcast_block(roster, id, &block, erasures);
            } else {
                roster.schedule.push(Turn::Group(id));
            }
        }
        // Each member reports the gap, or that the log cannot be read.
        Err(_) => roster.dissolve(id),
    }
}

fn broadcast_block(roster: &mut Roster, id: GroupId, block: &ReplayBlock, erasures: ErasureStamp) {
    let Some(group) = roster.groups.get_mut(id) else { return };
    let mut shown = Vec::<&Arc<Entry>>::new();
    for entry in block.entries.iter().filter(|entry| group.interest().shows(entry)) {
        match roster.hub.presence(entry) {
            Presence::Shown => shown.push(entry),
            Presence::Skipped => {}
            Presence::Gone(_) => return roster.dissolve(id),
        }
    }
    let Some(last) = shown.last() else {
        group.skip_to(block.up_to);
        return roster.schedule.push(Turn::Group(id));
    };
    let frames: Vec<Frame> =
        shown.iter().map(|entry| group.registration().encode(entry, group.format())).collect();
    // A block holds far fewer than 2^32 entries.
    let events = shown.iter().map(|entry| report::events(entry)).sum();
    let (up_to, last_entry) = (block.up_to, last.offset());
    let is_last = shown.iter().any(|entry| report::is_end(entry)) && group.is_over(up_to);
    let (bytes, topics) = (concat(&frames), topics_of(&frames));
    let more = true;
    let new = NewBroadcast { bytes, events, topics, erasures, up_to, last_entry, more, is_last };
    roster.groups.start_broadcast(id, new, roster.now);
}
