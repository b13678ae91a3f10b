//! Entries of a segment that are no events for subscribers: ends, stops and the like, and the hub's
//! notes to itself.

use carafe_protocol::{Offset, Topic};

use crate::ReadError;
use crate::disk::format::index::Ordinal;
use crate::disk::index::file::{SegmentIndex, unreadable};
use crate::disk::read::part::SegmentReader;
use crate::publication::RESERVED;
use crate::wanted::Budget;

/// The size of a control entry in its table, about.
const BYTES_OF_CONTROL: usize = 128;

/// The entries of a segment that are no events.
pub(crate) struct NoEvents {
    /// The offsets of entries of other kinds, in order.
    control: Vec<Offset>,
    /// The entries of reserved topics, in order. Only for an index file: an index in memory tells
    /// the topics of an entry.
    internal: Vec<Ordinal>,
}

impl NoEvents {
    pub(crate) fn of(part: &SegmentReader, budget: &mut Budget) -> Result<Self, ReadError> {
        let control = part.offsets_of_control()?;
        let internal = match &part.index {
            SegmentIndex::Memory(..) => Vec::new(),
            SegmentIndex::File(file) => file.of_prefix(RESERVED).map_err(unreadable)?,
        };
        budget.read(control.len() * BYTES_OF_CONTROL + internal.len() * size_of::<Ordinal>());
        Ok(Self { control, internal })
    }

    /// Whether an entry is no event. Its offset is asked for only if it decides.
    pub(crate) fn has(
        &self,
        part: &SegmentReader,
        at: Ordinal,
        offset: impl FnOnce() -> Result<Offset, ReadError>,
    ) -> Result<bool, ReadError> {
        let is_internal = match &part.index {
            SegmentIndex::Memory(index, _) => {
                index.any_topic(at, |topic| index.name(topic).is_some_and(Topic::is_reserved))
            }
            SegmentIndex::File(_) => self.internal.binary_search(&at).is_ok(),
        };
        Ok(is_internal
            || (!self.control.is_empty() && self.control.binary_search(&offset()?).is_ok()))
    }
}
