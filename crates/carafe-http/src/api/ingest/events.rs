//! Events between the decoder of a body and the log.

use carafe_log::Publication;

use crate::answer::problem::Place;

/// An event of a body.
pub(crate) struct Decoded {
    pub(crate) place: Place,
    pub(crate) publication: Publication,
}

/// Events that are appended together.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) publications: Vec<Publication>,
    pub(crate) places: Vec<Place>,
    pub(crate) weight: usize,
}
