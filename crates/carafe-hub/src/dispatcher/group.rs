//! Seats that ask for the same, and so share one cursor.

use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use carafe_protocol::{Offset, Position};
use hashbrown::HashTable;
use smallvec::SmallVec;

use super::Tick;
use super::seat::{Lagging, Settled};
use crate::Format;
use crate::core::Interest;
use crate::ids::{BroadcastId, GroupId, SubscriberId};
use crate::membership::Membership;
use crate::paged_table::PagedTable;

/// Seats that ask for the same and have been sent all up to one cursor; while a pass is under way,
/// some of them have yet to be.
pub(super) struct Group {
    pub(super) membership: Membership,
    pub(super) format: Format,
    /// Those that lag behind are among them, and are passed over.
    pub(super) seats: SmallVec<[SubscriberId; 4]>,
    pass: Option<BroadcastId>,
    /// Counts the passes, so that a seat knows which it has been in.
    pub(super) number: u32,
    /// The last entry that was sent.
    pub(super) told: Offset,
    /// When that was.
    pub(super) sent: Tick,
    pub(super) queued: bool,
    /// Something came while it was queued.
    pub(super) touched: bool,
}

/// What is being sent to all seats of a group.
pub(super) struct Pass {
    pub(super) bytes: Bytes,
    /// Where those seats stand that it has not come to.
    pub(super) from: Position,
    /// How many seats it has yet to come to, the last ones first.
    pub(super) left: usize,
    /// There is more in the ring than one pass takes.
    pub(super) more: bool,
}

/// All groups of a dispatcher, found by what their seats ask for.
pub(super) struct Groups {
    groups: PagedTable<GroupId, Group>,
    // Kept apart: few groups have a pass, and none costs an allocation.
    passes: PagedTable<BroadcastId, Pass>,
    index: HashTable<GroupId>,
    hasher: RandomState,
}

impl Groups {
    pub(super) fn new() -> Self {
        Self {
            groups: PagedTable::new(),
            passes: PagedTable::new(),
            index: HashTable::new(),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn get(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(id)
    }

    pub(super) fn get_mut(&mut self, id: GroupId) -> Option<&mut Group> {
        self.groups.get_mut(id)
    }

    /// The group of those who ask for this.
    pub(super) fn find(&self, interest: &Interest, format: Format) -> Option<GroupId> {
        let is_it = |id: &GroupId| {
            let group = &self.groups[*id];
            group.format == format && group.membership.cursor.interest == *interest
        };
        self.index.find(self.hash(interest, format), is_it).copied()
    }

    /// The name that the next group will have.
    pub(super) fn next_id(&self) -> GroupId {
        self.groups.vacant_key()
    }

    /// A group of those who ask for what this one asks for. It has been sent nothing.
    pub(super) fn insert(&mut self, membership: Membership, format: Format) {
        let hash = self.hash(&membership.cursor.interest, format);
        let (seats, told, sent, queued, touched) = (SmallVec::new(), 0, 0, false, false);
        let group =
            Group { membership, format, seats, pass: None, number: 0, told, sent, queued, touched };
        let id = self.groups.insert(group);
        let Self { groups, index, hasher, .. } = self;
        index.insert_unique(hash, id, |id| hash_of(hasher, &groups[*id]));
    }

    /// Forgets a group. Dropping it leaves the hub.
    pub(super) fn remove(&mut self, id: GroupId) -> Group {
        let group = self.groups.remove(id);
        if let Ok(found) =
            self.index.find_entry(hash_of(&self.hasher, &group), |found| *found == id)
        {
            found.remove();
        }
        if let Some(pass) = group.pass {
            self.passes.remove(pass);
        }
        group
    }

    /// The pass that is under way.
    pub(super) fn pass(&self, id: GroupId) -> Option<&Pass> {
        self.get(id)?.pass.map(|pass| &self.passes[pass])
    }

    pub(super) fn pass_mut(&mut self, id: GroupId) -> Option<&mut Pass> {
        let pass = self.get(id)?.pass?;
        self.passes.get_mut(pass)
    }

    /// Begins a pass over all seats that there are now.
    pub(super) fn begin(&mut self, id: GroupId, pass: Pass) {
        let group = &mut self.groups[id];
        group.number = group.number.wrapping_add(1);
        group.pass = Some(self.passes.insert(pass));
    }

    /// Ends a pass, and says whether there is more for the group.
    pub(super) fn end_pass(&mut self, id: GroupId) -> bool {
        let group = &mut self.groups[id];
        let pass = group.pass.take().map(|pass| self.passes.remove(pass));
        let touched = std::mem::take(&mut group.touched);
        touched || pass.is_some_and(|pass| pass.more)
    }

    /// Up to where a seat has all.
    pub(super) fn position_of(&self, seat: &Settled) -> Position {
        let stands = self.stands(seat.place.group, seat.pass);
        seat.since.as_deref().map_or(stands, |since| further(*since, stands))
    }

    /// Up to where a seat has all once it has taken the rest of what was begun.
    pub(super) fn position_after(&self, seat: &Lagging) -> Position {
        let stands = seat.pass.map(|pass| self.stands(seat.place.group, pass));
        stands.map_or(seat.after, |stands| further(stands, seat.after))
    }

    /// Where those stand who have all up to the last pass, or to the one before while the last is
    /// under way.
    fn stands(&self, id: GroupId, number: u32) -> Position {
        let group = &self.groups[id];
        match self.pass(id) {
            Some(pass) if number != group.number => pass.from,
            _ => group.membership.cursor.position,
        }
    }

    fn hash(&self, interest: &Interest, format: Format) -> u64 {
        self.hasher.hash_one((interest, format))
    }
}

fn further(one: Position, other: Position) -> Position {
    if one.offset > other.offset { one } else { other }
}

fn hash_of(hasher: &RandomState, group: &Group) -> u64 {
    hasher.hash_one((&group.membership.cursor.interest, group.format))
}

impl Group {
    /// Takes a seat out, and names the one that has its place now.
    pub(super) fn take_out(&mut self, at: u32) -> Option<SubscriberId> {
        self.seats.swap_remove(at as usize);
        self.seats.get(at as usize).copied()
    }
}
