//! The holes of a log: ranges of entries that are known to be lost.

use carafe_protocol::{Offset, Position};

use crate::disk::format::header::Header;

/// All holes, in order. They are determined when the log is opened; only a repair makes new ones.
pub(crate) struct Holes(Vec<Hole>);

struct Hole {
    /// The offset of the last entry before the hole.
    after: Offset,
    /// The position before the first entry after the hole. It stands for all lost entries.
    end: Position,
}

impl Holes {
    /// Determines the holes from all segments in order, each with its last offset.
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

    /// The end of the hole that begins directly after an offset or contains it.
    pub(crate) fn after(&self, offset: Offset) -> Option<Position> {
        self.0
            .iter()
            .find(|hole| hole.after <= offset && offset < hole.end.offset)
            .map(|hole| hole.end)
    }

    /// The end of the hole that contains a lost entry.
    pub(crate) fn with(&self, offset: Offset) -> Option<Position> {
        self.0
            .iter()
            .find(|hole| hole.after < offset && offset <= hole.end.offset)
            .map(|hole| hole.end)
    }
}
