//! A place in the hub.

use std::sync::Arc;

use crate::core::Cursor;
use crate::feeds::SubscriberId;
use crate::hub::Shared;

/// What a subscription, or a group of them, has of the hub. Dropping it leaves.
pub(crate) struct Membership {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: SubscriberId,
    pub(crate) cursor: Cursor,
}

impl Drop for Membership {
    fn drop(&mut self) {
        let waiter = self.shared.state().leave(self.id, &self.cursor.interest);
        // After the lock: dropping a waker may be a task's end, which leaves the hub.
        drop(waiter);
    }
}
