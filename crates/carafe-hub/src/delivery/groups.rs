//! Groups: subscribers that request the same and share one cursor.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use carafe_protocol::{Offset, Position};
use hashbrown::HashTable;
use smallvec::SmallVec;

use super::delivery_state::{CatchingUp, InGroup, Rest};
use super::sink::Tick;
use crate::feeds::core::later;
use crate::feeds::interest::Interest;
use crate::format::Format;
use crate::heartbeat::Heartbeat;
use crate::ids::{BroadcastId, GroupId, SubscriberId};
use crate::paged_table::PagedTable;
use crate::recent_erasures::{ErasureStamp, TopicBits};
use crate::subscription::cursor::Cursor;
use crate::subscription::registration::Registration;

/// Subscribers that request the same, and have been sent everything up to one cursor. While a
/// broadcast is under way, it has not reached some of them.
pub(super) struct Group {
    registration: Registration,
    format: Format,
    heartbeat: Heartbeat,
    /// Those that are catching up are members too, and a broadcast skips them.
    members: SmallVec<[SubscriberId; 4]>,
    broadcast: Option<BroadcastId>,
    /// Counts the broadcasts, so that a member knows which it was sent. It wraps around.
    number: u32,
    /// The last entry that was sent.
    last_sent: Offset,
    /// When it was sent.
    sent: Tick,
    queue: QueueState,
}

/// Whether a group has a turn to come, waits for the log, or has a broadcast.
#[derive(Clone, Copy, PartialEq, Eq)]
enum QueueState {
    /// Turns of the group are stale.
    NotQueued,
    Queued,
    /// Something came while the group was queued.
    Touched,
}

/// Bytes that are being sent to all members of a group.
#[derive(Clone)]
pub(super) struct Broadcast {
    pub(super) bytes: Bytes,
    /// The number of events in the bytes.
    pub(super) events: u32,
    /// When they were collected.
    pub(super) erasures: ErasureStamp,
    /// Their topics.
    pub(super) topics: TopicBits,
    /// The position of the members that the broadcast has not reached.
    pub(super) from: Position,
    /// The members that the broadcast has not reached, counted from the front: it goes from the
    /// last to the first.
    left: usize,
    /// There is more in the ring than one broadcast takes.
    more: bool,
    /// The streams of the members that it reaches end after it.
    pub(super) is_last: bool,
}

/// The bytes of a new broadcast.
pub(super) struct NewBroadcast {
    pub(super) bytes: Bytes,
    /// The number of events in the bytes.
    pub(super) events: u32,
    /// When they were collected.
    pub(super) erasures: ErasureStamp,
    /// Their topics.
    pub(super) topics: TopicBits,
    /// The position of the group after the broadcast.
    pub(super) up_to: Position,
    /// The last entry in the bytes.
    pub(super) last_entry: Offset,
    /// There is more in the ring or in the log.
    pub(super) more: bool,
    /// With it, all topics of the group have ended.
    pub(super) is_last: bool,
}

impl Broadcast {
    /// What is left for a member whose client took this many bytes.
    pub(super) fn rest(&self, written: usize) -> Rest {
        Rest::new(self.bytes.slice(written..), self.events, self.topics, self.erasures)
    }
}

/// The groups of a dispatcher, found by what their members request.
pub(super) struct Groups {
    table: PagedTable<GroupId, Group>,
    // Apart from the groups: few groups have a broadcast, and this way none costs an allocation.
    broadcasts: PagedTable<BroadcastId, Broadcast>,
    by_interest: HashTable<GroupId>,
    hasher: RandomState,
}

impl Groups {
    pub(super) fn new() -> Self {
        Self {
            table: PagedTable::new(),
            broadcasts: PagedTable::new(),
            by_interest: HashTable::new(),
            hasher: RandomState::new(),
        }
    }

    #[inline]
    pub(super) fn get(&self, id: GroupId) -> Option<&Group> {
        self.table.get(id)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: GroupId) -> Option<&mut Group> {
        self.table.get_mut(id)
    }

    /// Whether the group has a turn to come, or waits for the log.
    pub(super) fn is_queued(&self, id: GroupId) -> bool {
        self.get(id).is_some_and(|group| group.queue != QueueState::NotQueued)
    }

    /// The group of subscribers that request this in this format, with this heartbeat.
    pub(super) fn find(
        &self,
        interest: &Interest,
        format: Format,
        heartbeat: Heartbeat,
    ) -> Option<GroupId> {
        let is_it = |id: &GroupId| {
            let group = &self.table[*id];
            (group.format, group.heartbeat) == (format, heartbeat) && *group.interest() == *interest
        };
        let hash = self.hasher.hash_one((interest, format, heartbeat));
        self.by_interest.find(hash, is_it).copied()
    }

    /// The ID that the next group gets.
    pub(super) fn next_id(&self) -> GroupId {
        self.table.vacant_key()
    }

    /// Adds a group without members that was sent nothing.
    pub(super) fn insert(
        &mut self,
        registration: Registration,
        format: Format,
        heartbeat: Heartbeat,
    ) {
        let group = Group {
            registration,
            format,
            heartbeat,
            members: SmallVec::new(),
            broadcast: None,
            number: 0,
            last_sent: 0,
            sent: 0,
            queue: QueueState::NotQueued,
        };
        let hash = hash_of(&self.hasher, &group);
        let id = self.table.insert(group);
        let Self { table, by_interest, hasher, .. } = self;
        by_interest.insert_unique(hash, id, |id| hash_of(hasher, &table[*id]));
    }

    /// Removes a group. Dropping it unsubscribes its subscription.
    pub(super) fn remove(&mut self, id: GroupId) -> Group {
        let group = self.table.remove(id);
        let hash = hash_of(&self.hasher, &group);
        if let Ok(found) = self.by_interest.find_entry(hash, |found| *found == id) {
            found.remove();
        }
        if let Some(broadcast) = group.broadcast {
            self.broadcasts.remove(broadcast);
        }
        group
    }

    /// The broadcast that is under way.
    pub(super) fn broadcast(&self, id: GroupId) -> Option<&Broadcast> {
        self.get(id)?.broadcast.map(|broadcast| &self.broadcasts[broadcast])
    }

    /// Starts a broadcast to all current members.
    pub(super) fn start_broadcast(&mut self, id: GroupId, new: NewBroadcast, now: Tick) {
        let Some(group) = self.table.get_mut(id) else { return };
        let NewBroadcast { bytes, events, erasures, topics, up_to, last_entry, more, is_last } =
            new;
        let from = std::mem::replace(&mut group.registration.cursor.position, up_to);
        let left = group.members.len();
        let broadcast = Broadcast { bytes, events, erasures, topics, from, left, more, is_last };
        (group.last_sent, group.sent) = (last_entry, now);
        group.number = group.number.wrapping_add(1);
        group.broadcast = Some(self.broadcasts.insert(broadcast));
    }

    /// The next member of the broadcast.
    #[inline]
    pub(super) fn next_member(&mut self, id: GroupId) -> Option<SubscriberId> {
        let group = self.table.get(id)?;
        let broadcast = self.broadcasts.get_mut(group.broadcast?)?;
        // Members that left may have made the group smaller than the broadcast expects.
        broadcast.left = broadcast.left.min(group.members.len()).checked_sub(1)?;
        group.members.get(broadcast.left).copied()
    }

    /// Ends a broadcast; whether the group stays queued, since there is more for it.
    pub(super) fn end_broadcast(&mut self, id: GroupId) -> bool {
        let Some(group) = self.table.get_mut(id) else { return false };
        let broadcast = group.broadcast.take().map(|broadcast| self.broadcasts.remove(broadcast));
        let is_touched = group.queue == QueueState::Touched;
        let has_more = is_touched || broadcast.is_some_and(|broadcast| broadcast.more);
        group.queue = if has_more { QueueState::Queued } else { QueueState::NotQueued };
        has_more
    }

    /// The position up to which a member has everything.
    pub(super) fn position_of(&self, member: &InGroup) -> Position {
        let position = self.position_after(member.place.group, member.broadcast);
        member.ahead_to.as_deref().map_or(position, |ahead_to| later(*ahead_to, position))
    }

    /// The position up to which a member has everything once it has taken its rest.
    pub(super) fn position_after_rest(&self, member: &CatchingUp) -> Position {
        let position =
            member.broadcast.map(|number| self.position_after(member.place.group, number));
        position.map_or(member.resume_after, |position| later(position, member.resume_after))
    }

    /// The position of members that were sent everything up to this broadcast.
    fn position_after(&self, id: GroupId, number: u32) -> Position {
        let group = &self.table[id];
        match self.broadcast(id) {
            Some(broadcast) if number != group.number => broadcast.from,
            _ => group.cursor().position,
        }
    }
}

fn hash_of(hasher: &RandomState, group: &Group) -> u64 {
    hasher.hash_one((group.interest(), group.format, group.heartbeat))
}

impl Group {
    pub(super) fn registration(&self) -> &Registration {
        &self.registration
    }

    pub(super) fn registration_mut(&mut self) -> &mut Registration {
        &mut self.registration
    }

    #[inline]
    pub(super) fn cursor(&self) -> &Cursor {
        &self.registration.cursor
    }

    pub(super) fn interest(&self) -> &Interest {
        &self.registration.cursor.interest
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    pub(super) fn heartbeat(&self) -> Heartbeat {
        self.heartbeat
    }

    pub(super) fn members(&self) -> &[SubscriberId] {
        &self.members
    }

    /// The number of the last broadcast.
    #[inline]
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// The last entry that was sent.
    pub(super) fn last_sent(&self) -> Offset {
        self.last_sent
    }

    /// When the last entry was sent.
    pub(super) fn sent(&self) -> Tick {
        self.sent
    }

    /// Whether everything that the members will ever receive is at or before this position. Not to
    /// be called under the hub's lock.
    pub(super) fn is_over(&self, up_to: Position) -> bool {
        let Registration { hub, cursor, .. } = &self.registration;
        self.format.ends_with_topics() && hub.is_over(&cursor.interest, up_to)
    }

    /// Moves the cursor over entries that are not shown.
    pub(super) fn skip_to(&mut self, position: Position) {
        self.registration.cursor.position = position;
    }

    /// Something came for the group; whether it has to be queued.
    pub(super) fn touch(&mut self) -> bool {
        let has_to_be = self.queue == QueueState::NotQueued;
        self.queue = if has_to_be { QueueState::Queued } else { QueueState::Touched };
        has_to_be
    }

    /// The group waits, and is not queued.
    pub(super) fn unqueue(&mut self) {
        self.queue = QueueState::NotQueued;
    }

    pub(super) fn add_member(&mut self, id: SubscriberId) {
        self.members.push(id);
    }

    /// Removes the member at this place, and returns the one that has moved there.
    pub(super) fn remove_member(&mut self, at: u32) -> Option<SubscriberId> {
        self.members.swap_remove(at as usize);
        self.members.get(at as usize).copied()
    }
}
