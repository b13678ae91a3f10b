//! Reads the log for groups that the ring does not reach back to: once for all their members.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use carafe_log::{Block, Entry};

use super::groups::NewBroadcast;
use super::ring_run::concat;
use super::roster::Roster;
use super::schedule::Turn;
use crate::frame::Frame;
use crate::ids::GroupId;
use crate::report;
use crate::subscription::replay::read_block;

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
        Ok(block) => broadcast_block(roster, id, &block),
        // Each member reports the gap, or that the log cannot be read.
        Err(_) => roster.dissolve(id),
    }
}

fn broadcast_block(roster: &mut Roster, id: GroupId, block: &Block) {
    let Some(group) = roster.groups.get_mut(id) else { return };
    let shown: Vec<&Arc<Entry>> =
        block.entries.iter().filter(|entry| group.interest().shows(entry)).collect();
    if shown.iter().any(|entry| roster.hub.retentions.has_expired(entry)) {
        return roster.dissolve(id);
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
    let bytes = concat(&frames);
    let new = NewBroadcast { bytes, events, up_to, last_entry, more: true, is_last };
    roster.groups.start_broadcast(id, new, roster.now);
}
