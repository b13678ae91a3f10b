//! A view: the segments and entries of a log at one moment.

use std::collections::VecDeque;
use std::sync::Arc;

use carafe_protocol::{Generation, Offset, Position};

use crate::disk::format::index::Ordinal;
use crate::disk::index::active::ActiveIndex;
use crate::disk::index::file::SegmentIndex;
use crate::disk::read::part::SegmentReader;
use crate::disk::segment::file::Segment;
use crate::disk::segment::sealed::Sealed;
use crate::{Erasures, Span};

/// An immutable snapshot for readers. The writer publishes another one after each commit.
pub(crate) struct View {
    /// The sealed segments, the oldest first.
    pub(crate) sealed: Arc<VecDeque<Arc<Sealed>>>,
    pub(crate) segment: Segment,
    pub(crate) index: Arc<ActiveIndex>,
    /// The number of entries of the active segment. Its index may have more, which readers ignore.
    pub(crate) entries: Ordinal,
    pub(crate) first: Option<Position>,
    pub(crate) tail: Position,
    /// Erasures that are applied to what is read in this view.
    pub(crate) erasures: Option<Arc<Erasures>>,
    /// The offset of the newest erasure since the log was opened.
    pub(crate) erased_to: Offset,
}

/// A segment of a view.
#[derive(Clone)]
pub(crate) enum Place {
    Sealed(Arc<Sealed>),
    Active,
}

impl View {
    /// The position before the oldest stored entry.
    pub(crate) fn start(&self) -> Position {
        self.sealed
            .front()
            .map_or(self.segment.header.previous, |oldest| oldest.segment.header.previous)
    }

    pub(crate) fn span(&self) -> Span {
        let oldest = self.sealed.front().map_or(self.first, |oldest| Some(oldest.summary.first));
        Span { start: self.start(), oldest, tail: self.tail }
    }

    /// The segment that contains an offset or would contain it.
    pub(crate) fn place_of(&self, offset: Offset) -> Place {
        // Sealed segments are sorted by offset and do not overlap.
        let at = self.sealed.partition_point(|sealed| sealed.last_offset() < offset);
        self.sealed.get(at).map_or(Place::Active, |sealed| Place::Sealed(Arc::clone(sealed)))
    }

    /// The segments, the newest first.
    pub(crate) fn places(&self) -> impl DoubleEndedIterator<Item = Place> {
        let sealed = self.sealed.iter().map(|sealed| Place::Sealed(Arc::clone(sealed)));
        sealed.chain([Place::Active]).rev()
    }

    pub(crate) fn active(&self) -> SegmentReader {
        SegmentReader {
            segment: self.segment.clone(),
            last: self.tail,
            index: SegmentIndex::Memory(Arc::clone(&self.index), self.entries),
            erasures: self.erasures.clone(),
            sealed: None,
        }
    }

    /// The active segment with what it has on the disk.
    pub(crate) fn active_with_erased(&self) -> SegmentReader {
        SegmentReader { erasures: None, ..self.active() }
    }

    /// The last position of an earlier generation, which the first segment of the next generation
    /// names. `None` if it is not known.
    pub(crate) fn end_of(&self, generation: Generation) -> Option<Position> {
        let sealed = self.sealed.iter().map(|sealed| &sealed.segment);
        let mut headers = sealed.chain([&self.segment]).map(|segment| segment.header);
        let next = headers
            .find(|next| next.previous.generation == generation && next.generation != generation);
        next.map(|next| next.previous)
    }

    /// Whether the generation of a position is one of those that are stored.
    pub(crate) fn knows(&self, position: Position) -> bool {
        let mut generations = self.sealed.iter().map(|sealed| sealed.segment.header.generation);
        // The tail, too: an active segment without entries has a new generation, and the tail is
        // still of the previous one.
        self.tail.generation == position.generation
            || self.segment.header.generation == position.generation
            || self.start().generation == position.generation
            || generations.any(|generation| generation == position.generation)
    }
}
