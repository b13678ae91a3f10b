//! The subscribers of a dispatcher, each with its delivery state.
//!
//! The small functions are inlined: they run once per delivery, in code that is generic over the
//! driver's sink and so compiled in the driver's crate.

use super::delivery_state::{DeliveryState, GroupPlace, Replaying};
use crate::ids::SubscriberId;
use crate::paged_table::{PagedTable, TableKey};

/// The subscribers of a dispatcher.
pub(super) struct Members {
    table: PagedTable<SubscriberId, DeliveryState>,
    /// Where the next search for subscribers that have to end begins.
    next_to_end: usize,
}

impl Members {
    pub(super) fn new() -> Self {
        Self { table: PagedTable::new(), next_to_end: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The ID that the next subscriber gets.
    pub(super) fn next_id(&self) -> SubscriberId {
        self.table.vacant_key()
    }

    pub(super) fn insert(&mut self, state: DeliveryState) -> SubscriberId {
        self.table.insert(state)
    }

    pub(super) fn remove(&mut self, id: SubscriberId) -> Option<DeliveryState> {
        self.table.try_remove(id)
    }

    pub(super) fn clear(&mut self) {
        self.table.clear();
    }

    #[inline]
    pub(super) fn get(&self, id: SubscriberId) -> Option<&DeliveryState> {
        self.table.get(id)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: SubscriberId) -> Option<&mut DeliveryState> {
        self.table.get_mut(id)
    }

    /// The state of a subscriber that replays.
    #[inline]
    pub(super) fn replaying(&mut self, id: SubscriberId) -> Option<&mut Replaying> {
        match self.table.get_mut(id)? {
            DeliveryState::Replaying(state) => Some(state),
            DeliveryState::InGroup(_) | DeliveryState::CatchingUp(_) => None,
        }
    }

    /// The place of a subscriber in its group.
    pub(super) fn place(&self, id: SubscriberId) -> Option<GroupPlace> {
        self.get(id).and_then(DeliveryState::place)
    }

    /// Up to `count` members of groups, round the table: each call continues where the last ended.
    pub(super) fn next_in_groups(&mut self, count: usize) -> Vec<SubscriberId> {
        let (mut found, bound) = (Vec::new(), self.table.bound());
        // At most once round the table, also if fewer than `count` are in groups.
        for _ in 0..bound {
            if found.len() == count {
                break;
            }
            self.next_to_end = (self.next_to_end + 1) % bound;
            // Below the bound of the table, so the key exists. Its slot may be free.
            let id = SubscriberId::from_index(self.next_to_end);
            found.extend(self.place(id).map(|_| id));
        }
        found
    }
}
