//! The positions of events of the hub that a supplied log has dropped.

use std::collections::VecDeque;

use carafe_protocol::{Offset, Position};

/// The maximum number of positions, of 16 bytes each.
const POSITIONS: usize = 1 << 16;

/// The newest positions of dropped events of the hub, in order. In a log that is supplied, another
/// event may have had the same offset before the supplier lost it: only the nonce tells.
#[derive(Default)]
pub(super) struct Dropped(VecDeque<(Offset, u32)>);

impl Dropped {
    pub(super) fn push(&mut self, position: Position) {
        if self.0.len() == POSITIONS {
            self.0.pop_front();
        }
        self.0.push_back((position.offset, position.nonce));
    }

    /// Forgets positions up to an offset.
    pub(super) fn trim(&mut self, start: Offset) {
        while self.0.front().is_some_and(|(offset, _)| *offset <= start) {
            self.0.pop_front();
        }
    }

    pub(super) fn has(&self, position: Position) -> bool {
        let at = self.0.binary_search_by_key(&position.offset, |(offset, _)| *offset);
        at.is_ok_and(|at| self.0[at].1 == position.nonce)
    }
}
