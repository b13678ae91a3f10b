//! Where entries are known to be lost in the middle of a log.

use carafe_protocol::{Offset, Position};

use crate::disk::format::header::Header;

/// All holes, in order. They are as they were when the log was opened: a running log gets no new
/// ones.
pub(crate) struct Holes(Vec<Hole>);

struct Hole {
    /// The last entry before it.
    after: Offset,
    /// The position before the first entry after it. It stands for all lost ones.
    end: Position,
}

impl Holes {
    /// Takes all segments in order, each with its last offset.
    pub(crate) fn of(segments: impl Iterator<Item = (Header, Offset)>) -> Self {
        let (mut holes, mut after) = (Vec::new(), None);
        for (header, last) in segments {
            if let Some(after) = after
                && header.after_hole
            {
                holes.push(Hole { after, end: header.previous });
            }
            after = Some(last);
        }
        Self(holes)
    }

    /// The end of the hole that begins right after an offset, or that the offset lies in.
    pub(crate) fn after(&self, offset: Offset) -> Option<Position> {
        self.0
            .iter()
            .find(|hole| hole.after <= offset && offset < hole.end.offset)
            .map(|hole| hole.end)
    }

    /// The end of the hole that a lost entry was in.
    pub(crate) fn with(&self, offset: Offset) -> Option<Position> {
        self.0
            .iter()
            .find(|hole| hole.after < offset && offset <= hole.end.offset)
            .map(|hole| hole.end)
    }
}
