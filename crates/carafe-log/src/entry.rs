//! What a log keeps.

use std::time::SystemTime;

use carafe_protocol::{Offset, Position};

use crate::Publication;

/// A publication with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub position: Position,
    /// When the log took it, by its [`Clock`](crate::Clock).
    pub time: SystemTime,
    /// What was published.
    pub publication: Publication,
}

impl Entry {
    /// Where it stands in its log.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.position.offset
    }

    /// About how many bytes of memory the entry takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        Self::weight_of(&self.publication)
    }

    /// What an entry of this publication will take.
    pub(crate) fn weight_of(publication: &Publication) -> usize {
        size_of::<Self>() - size_of::<Publication>() + publication.weight()
    }
}
