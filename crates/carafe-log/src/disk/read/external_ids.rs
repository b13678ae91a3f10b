//! Finds entries by their external ID.

use std::sync::Arc;

use carafe_protocol::Position;

use crate::disk::format::commit::Row;
use crate::disk::format::filter::HashKind;
use crate::disk::format::index::Ordinal;
use crate::disk::index::file::{SegmentIndex, unreadable};
use crate::disk::read::part::SegmentReader;
use crate::disk::state::DiskShared;
use crate::disk::view::{Place, View};
use crate::{Access, Entry, ExternalId, ReadError};

/// The number of entries that are read in one turn.
const TURN: usize = 256;

/// The maximum number of bytes of these entries, unless a single one has more.
const BYTES: usize = 4 << 20;

/// A search through the segments for the earliest entry with an external ID that the reader may
/// see, in turns.
pub(crate) struct ExternalIdSearch {
    id: ExternalId,
    access: Access,
    view: Arc<View>,
    /// The segments that are still to be searched, the newest first. The search takes them from the
    /// end, so it begins with the oldest.
    places: Vec<Place>,
    /// The segment that is being searched, and its remaining entries that may have the ID.
    part: Option<(SegmentReader, Vec<Ordinal>)>,
}

impl ExternalIdSearch {
    pub(crate) fn new(shared: &DiskShared, id: ExternalId, access: Access) -> Self {
        let view = shared.view();
        let mut search = Self { id, access, places: Vec::new(), view, part: None };
        search.places = search.view.places().filter(|place| search.may_be_in(place)).collect();
        search
    }

    fn may_be_in(&self, place: &Place) -> bool {
        match place {
            Place::Active => {
                !self.view.index.of_external_id(&self.id, self.view.entries).is_empty()
            }
            Place::Sealed(sealed) => sealed.may_have(HashKind::Id, &[self.id.as_str()]),
        }
    }

    /// Whether it is certain that no entry has the ID.
    pub(crate) fn finds_nothing(&self) -> bool {
        self.places.is_empty()
    }

    /// Runs one turn. `None` if the search is not finished.
    pub(crate) fn step(
        &mut self,
        shared: &DiskShared,
    ) -> Result<Option<Option<Position>>, ReadError> {
        let (part, ordinals) = match self.part.take() {
            Some(part) => part,
            None => {
                let Some(place) = self.places.pop() else { return Ok(Some(None)) };
                let part = match shared.part(&self.view, &place) {
                    // Trimmed meanwhile: whatever it had is gone. The next turn continues with the
                    // next segment.
                    Err(ReadError::Trimmed { .. }) => return Ok(None),
                    part => part?,
                };
                let ordinals = of_external_id(&part, &self.id)?;
                (part, ordinals)
            }
        };
        let mut rows = part.rows(&ordinals[..ordinals.len().min(TURN)])?;
        rows.truncate(fitting(&rows));
        let later = &ordinals[rows.len()..];
        // Without a grant, no private entry is shown, so these need not be read.
        rows.retain(|row| !self.access.grant().is_empty() || !row.private);
        // Compared again: the index has only hashes of IDs.
        let is_it = |known: &Entry| {
            known.publication.external_id() == Some(&self.id)
                && self.access.shows(&known.publication)
        };
        if let Some(entry) = part.first_of(&rows, is_it)? {
            return Ok(Some(Some(entry.position)));
        }
        if !later.is_empty() {
            let later = later.to_vec();
            self.part = Some((part, later));
        }
        Ok(None)
    }
}

/// The number of these records that are read in one turn.
fn fitting(rows: &[Row]) -> usize {
    let mut bytes = 0;
    let fits = |row: &&Row| {
        bytes += row.length as usize;
        bytes <= BYTES
    };
    rows.iter().take_while(fits).count().max(1).min(rows.len())
}

fn of_external_id(part: &SegmentReader, id: &ExternalId) -> Result<Vec<Ordinal>, ReadError> {
    match &part.index {
        SegmentIndex::Memory(index, end) => {
            Ok(index.of_external_id(id, *end).into_iter().collect())
        }
        SegmentIndex::File(file) => file.of_external_id(id).map_err(unreadable),
    }
}
