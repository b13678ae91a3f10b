//! A subscription's place in the hub.

use std::sync::Arc;

use carafe_log::Entry;

use crate::envelope::envelope_json;
use crate::format::Format;
use crate::frame::Frame;
use crate::ids::SubscriptionId;
use crate::inner::HubInner;
use crate::subscription::cursor::Cursor;

/// What a subscription, or a group of a dispatcher, has in the hub. Dropping it unsubscribes.
pub(crate) struct Registration {
    pub(crate) hub: Arc<HubInner>,
    pub(crate) id: SubscriptionId,
    pub(crate) cursor: Cursor,
}

impl Registration {
    /// Encodes an entry that was read from the log for this subscription.
    pub(crate) fn encode(&self, entry: &Entry, format: Format) -> Frame {
        if self.cursor.interest.shares_frame(entry, format) {
            return format.entry(entry);
        }
        self.hub.state().core.own_envelope(&self.cursor.interest, entry)
    }

    /// The entry as the JSON object of an envelope, with the topics that this subscription may
    /// know.
    pub(crate) fn envelope_json(&self, entry: &Entry) -> String {
        if self.cursor.interest.shares_frame(entry, Format::Enveloped) {
            return envelope_json(entry, |_| true);
        }
        self.hub.state().core.own_envelope_json(&self.cursor.interest, entry)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let waiter = self.hub.state().unsubscribe(self.id, &self.cursor.interest);
        // After the lock: dropping a waker may end a task, whose subscription takes the lock.
        drop(waiter);
    }
}
