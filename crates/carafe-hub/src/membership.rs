//! A place in the hub.

use std::sync::Arc;

use carafe_log::Entry;

use crate::Format;
use crate::core::Cursor;
use crate::frame::Frame;
use crate::hub::Shared;
use crate::ids::SubscriptionId;

/// What a subscription, or a group of them, has of the hub. Dropping it leaves.
pub(crate) struct Membership {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: SubscriptionId,
    pub(crate) cursor: Cursor,
}

impl Membership {
    /// An entry that was read from the log as this member is told it.
    pub(crate) fn encode(&self, entry: &Entry, format: Format) -> Frame {
        if self.cursor.interest.shares_frame(entry, format) {
            return format.event(entry);
        }
        self.shared.state().core.envelope(&self.cursor.interest, entry)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let waiter = self.shared.state().leave(self.id, &self.cursor.interest);
        // After the lock: dropping a waker may be a task's end, which leaves the hub.
        drop(waiter);
    }
}
