//! Seats that ask for the same, and so share one cursor.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;

use bytes::Bytes;
use carafe_protocol::{Offset, Position};
use hashbrown::HashTable;
use slab::Slab;
use smallvec::SmallVec;

use super::seat::{Lagging, Settled};
use super::{SubscriberId, Tick};
use crate::Form;
use crate::core::Interest;
use crate::membership::Membership;
use crate::pages::Pages;

/// Names a group of a dispatcher.
pub(crate) type GroupId = u32;

/// Names a pass of a dispatcher.
type PassId = NonZeroU32;

/// Seats that ask for the same and have been sent all up to one cursor; while a pass is under way,
/// some of them have yet to be.
pub(super) struct Group {
    pub(super) membership: Membership,
    pub(super) form: Form,
    /// Those that lag behind are among them, and are passed over.
    pub(super) seats: SmallVec<[SubscriberId; 4]>,
    pass: Option<PassId>,
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
    groups: Pages<Group>,
    // Kept apart: few groups have a pass, and none costs an allocation.
    passes: Slab<Pass>,
    index: HashTable<GroupId>,
    hasher: RandomState,
}

impl Groups {
    pub(super) fn new() -> Self {
        Self {
            groups: Pages::new(),
            passes: Slab::new(),
            index: HashTable::new(),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn get(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(id as usize)
    }

    pub(super) fn get_mut(&mut self, id: GroupId) -> Option<&mut Group> {
        self.groups.get_mut(id as usize)
    }

    /// The group of those who ask for this.
    pub(super) fn find(&self, interest: &Interest, form: Form) -> Option<GroupId> {
        let is_it = |id: &GroupId| {
            let group = &self.groups[*id as usize];
            group.form == form && group.membership.cursor.interest == *interest
        };
        self.index.find(self.hash(interest, form), is_it).copied()
    }

    /// The name that the next group will have.
    pub(super) fn next_id(&self) -> GroupId {
        self.groups.vacant_key() as GroupId
    }

    /// A group of those who ask for what this one asks for. It has been sent nothing.
    pub(super) fn insert(&mut self, membership: Membership, form: Form) {
        let hash = self.hash(&membership.cursor.interest, form);
        let (seats, told, sent, queued, touched) = (SmallVec::new(), 0, 0, false, false);
        let group =
            Group { membership, form, seats, pass: None, number: 0, told, sent, queued, touched };
        let id = self.groups.insert(group) as GroupId;
        let Self { groups, index, hasher, .. } = self;
        index.insert_unique(hash, id, |id| hash_of(hasher, &groups[*id as usize]));
    }

    /// Forgets a group. Dropping it leaves the hub.
    pub(super) fn remove(&mut self, id: GroupId) -> Group {
        let group = self.groups.remove(id as usize);
        if let Ok(found) =
            self.index.find_entry(hash_of(&self.hasher, &group), |found| *found == id)
        {
            found.remove();
        }
        if let Some(pass) = group.pass {
            self.passes.remove(index(pass));
        }
        group
    }

    /// The pass that is under way.
    pub(super) fn pass(&self, id: GroupId) -> Option<&Pass> {
        self.get(id)?.pass.map(|pass| &self.passes[index(pass)])
    }

    pub(super) fn pass_mut(&mut self, id: GroupId) -> Option<&mut Pass> {
        let pass = self.get(id)?.pass?;
        self.passes.get_mut(index(pass))
    }

    /// Begins a pass over all seats that there are now.
    pub(super) fn begin(&mut self, id: GroupId, pass: Pass) {
        let group = &mut self.groups[id as usize];
        group.number = group.number.wrapping_add(1);
        group.pass = PassId::new(self.passes.insert(pass) as u32 + 1);
    }

    /// Ends a pass, and says whether there is more for the group.
    pub(super) fn end_pass(&mut self, id: GroupId) -> bool {
        let group = &mut self.groups[id as usize];
        let pass = group.pass.take().map(|pass| self.passes.remove(index(pass)));
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
        let group = &self.groups[id as usize];
        match self.pass(id) {
            Some(pass) if number != group.number => pass.from,
            _ => group.membership.cursor.position,
        }
    }

    fn hash(&self, interest: &Interest, form: Form) -> u64 {
        self.hasher.hash_one((interest, form))
    }
}

/// Names begin with 1, so that none is no name.
fn index(pass: PassId) -> usize {
    pass.get() as usize - 1
}

fn further(one: Position, other: Position) -> Position {
    if one.offset > other.offset { one } else { other }
}

fn hash_of(hasher: &RandomState, group: &Group) -> u64 {
    hasher.hash_one((&group.membership.cursor.interest, group.form))
}

impl Group {
    /// Takes a seat out, and names the one that has its place now.
    pub(super) fn take_out(&mut self, at: u32) -> Option<SubscriberId> {
        self.seats.swap_remove(at as usize);
        self.seats.get(at as usize).copied()
    }
}
