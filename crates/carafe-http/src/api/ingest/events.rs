//! Events between the decoder of a body and the log.

use carafe_log::Publication;

use crate::answer::problem::Place;

/// Memory of an event besides its publication: the allocator's overhead, and its place.
const BESIDE: usize = 128;

/// An event of a body.
pub(crate) struct Decoded {
    pub(crate) place: Place,
    pub(crate) publication: Publication,
}

impl Decoded {
    /// The memory that it takes.
    pub(crate) fn weight(&self) -> usize {
        self.publication.weight() + BESIDE
    }
}

/// Events that are appended together.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) publications: Vec<Publication>,
    pub(crate) places: Vec<Place>,
    pub(crate) weight: usize,
}
