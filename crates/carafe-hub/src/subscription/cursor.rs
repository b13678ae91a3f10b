//! The position of a subscription in the log, and what it receives.

use carafe_protocol::Position;

use crate::feeds::core::advance;
use crate::feeds::interest::Interest;

/// What a subscription receives, and the position after which it continues.
pub(crate) struct Cursor {
    pub(crate) interest: Interest,
    pub(crate) position: Position,
}

impl Cursor {
    /// Moves forward to `position`, up to which there is nothing for the subscription.
    pub(crate) fn advance(&mut self, position: Position) {
        // Never back: the cursor may have passed the position while the subscription was polled.
        advance(&mut self.position, position);
    }
}
