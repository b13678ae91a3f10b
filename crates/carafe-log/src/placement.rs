//! Where the publications of a batch go: one after the other behind the tail, or each at its place
//! in a commit that several nodes share.

use std::time::SystemTime;

use carafe_protocol::{Generation, Offset, Position};

use crate::commit::{in_milliseconds, nonce};
use crate::{AppendAtError, OrderedCommit};

/// The time and the positions of the publications of a batch, if they are stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placement {
    pub(crate) time: SystemTime,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// Behind a position, without holes.
    Behind(Position),
    InCommit {
        generation: Generation,
        /// The offset of the commit.
        first: Offset,
        seed: u32,
        /// The number of the batch's first publication within the commit.
        number: usize,
    },
}

impl Placement {
    pub(crate) fn behind(tail: Position, time: SystemTime) -> Self {
        Self { time, place: Place::Behind(tail) }
    }

    /// The place of the first batch of a commit.
    pub(crate) fn of(ordered: &OrderedCommit, generation: Generation) -> Self {
        let (first, seed) = (ordered.first, ordered.commit.seed);
        let place = Place::InCommit { generation, first, seed, number: 0 };
        Self { time: in_milliseconds(ordered.time), place }
    }

    /// The place of the batch after one of so many publications, in the same commit.
    pub(crate) fn after(mut self, publications: usize) -> Self {
        if let Place::InCommit { number, .. } = &mut self.place {
            *number += publications;
        }
        self
    }

    /// The position of a publication of the batch by its number, if it is stored. `last` is the one
    /// that is stored before it in the batch.
    pub(crate) fn position(&self, at: usize, last: Option<Position>) -> Position {
        match self.place {
            // Does not overflow: at a million events per second, 2^64 offsets last for half a
            // million years.
            Place::Behind(tail) => {
                let before = last.unwrap_or(tail);
                Position { offset: before.offset + 1, nonce: rand::random(), ..tail }
            }
            Place::InCommit { generation, first, seed, number } => {
                let index = number + at;
                // Whoever ordered the commit has left room for all its publications.
                let offset = first.saturating_add(index as Offset);
                Position { generation, offset, nonce: nonce(seed, index) }
            }
        }
    }
}

/// Checks that commits follow the tail, and each other.
pub(crate) fn check_order(
    commits: &[OrderedCommit],
    mut tail: Offset,
) -> Result<(), AppendAtError> {
    for ordered in commits {
        let offset = ordered.first;
        match ordered.last() {
            Some(last) if offset > tail => tail = last,
            _ => return Err(AppendAtError::OutOfOrder { offset, tail }),
        }
    }
    Ok(())
}
