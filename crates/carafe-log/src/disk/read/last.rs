//! Finds the position before the last matching entries.

use std::sync::Arc;

use carafe_protocol::{Offset, Position, TopicMatcher};

use crate::disk::format::index::Ordinal;
use crate::disk::read::part::SegmentReader;
use crate::disk::read::pick::{MatcherSet, Shown};
use crate::disk::state::DiskShared;
use crate::disk::view::{Place, View};
use crate::wanted::{Budget, Wanted};
use crate::{Access, ReadError};

/// A search through the segments, the newest first, in turns.
pub(crate) struct LastSearch {
    asked: MatcherSet,
    public: bool,
    granted: MatcherSet,
    /// All entries of the wanted topics before this offset are erased.
    erased_before: Offset,
    view: Arc<View>,
    /// The segments that are still to be searched, the oldest first.
    places: Vec<Place>,
    /// The segment that is being searched, and the entry before which the search continues.
    part: Option<(SegmentReader, Ordinal)>,
    /// The number of entries that are still to be found.
    left: usize,
    tests: u64,
    limit: u64,
}

impl LastSearch {
    pub(crate) fn new(
        shared: &DiskShared,
        count: usize,
        wanted: Vec<TopicMatcher>,
        access: &Access,
        limit: u64,
    ) -> Self {
        let view = shared.view();
        let mut places: Vec<_> = view.places().collect();
        places.reverse();
        let wanted = Wanted::new(wanted);
        Self {
            erased_before: erased_before(&view, &wanted),
            asked: MatcherSet::new(wanted, &shared.selections),
            public: access.includes_public(),
            granted: MatcherSet::new(Wanted::new(access.grant().matchers()), &shared.selections),
            view,
            places,
            part: None,
            left: count,
            tests: 0,
            limit,
        }
    }

    /// Runs one turn. `None` if the search is not finished.
    pub(crate) fn step(&mut self, shared: &DiskShared) -> Result<Option<Position>, ReadError> {
        if self.left == 0 {
            return Ok(Some(self.view.tail));
        }
        let mut budget = Budget::turn();
        let found = match self.search(shared, &mut budget) {
            // The segment was trimmed meanwhile, and so were all older ones.
            Err(ReadError::Trimmed { .. }) => Ok(Some(shared.view().start())),
            found => found,
        };
        shared.spent(&budget);
        self.tests += budget.tests();
        // Only an unfinished search is given up: a result that is there is returned, whatever it
        // cost.
        if self.tests > self.limit && matches!(found, Ok(None)) {
            return Err(ReadError::TooMuchWork { limit: self.limit });
        }
        found
    }

    fn search(
        &mut self,
        shared: &DiskShared,
        budget: &mut Budget,
    ) -> Result<Option<Position>, ReadError> {
        while !budget.is_spent() {
            let (part, end) = match self.part.take() {
                Some(part) => part,
                None => {
                    // Fewer entries match than were requested: the stream begins at the start of
                    // history.
                    let Some(place) = self.places.pop() else { return Ok(Some(self.view.start())) };
                    budget.examine();
                    if let Place::Sealed(sealed) = &place {
                        if sealed.last_offset() < self.erased_before {
                            return Ok(Some(self.view.start()));
                        }
                        if !sealed.may_have_any_of(&self.asked.wanted) {
                            continue;
                        }
                    }
                    let part = shared.part(&self.view, &place)?;
                    let end = part.entries();
                    (part, end)
                }
            };
            let outcome = self.search_part(&part, end, shared, budget)?;
            match outcome {
                Outcome::Found(at) => return Ok(Some(part.before(at)?)),
                Outcome::DownTo(0) => {}
                Outcome::DownTo(at) => self.part = Some((part, at)),
            }
        }
        Ok(None)
    }

    fn search_part(
        &mut self,
        part: &SegmentReader,
        end: Ordinal,
        shared: &DiskShared,
        budget: &mut Budget,
    ) -> Result<Outcome, ReadError> {
        let Some(mut finder) = part.finder(&self.asked, &shared.selections, budget)? else {
            return Ok(Outcome::DownTo(end));
        };
        let granted = (self.public, &self.granted);
        let Some(mut shown) = Shown::of(part, granted, &shared.selections, budget)? else {
            return Ok(Outcome::DownTo(end));
        };
        let first = part.first_after(self.erased_before.saturating_sub(1))?;
        let range = first.min(end)..end;
        let counted = part.count_back(range, &mut finder, &mut shown, self.left, budget)?;
        self.left -= counted.found;
        Ok(match counted.down_to {
            at if self.left == 0 => Outcome::Found(at),
            at if at <= first => Outcome::DownTo(0),
            at => Outcome::DownTo(at),
        })
    }
}

/// The offset before which all entries of some topics are erased. 0 if that is not known.
fn erased_before(view: &View, wanted: &Wanted) -> Offset {
    let (Some(erasures), Some(topics)) = (&view.erasures, wanted.topics()) else { return 0 };
    topics.map(|topic| erasures.before(topic).unwrap_or(0)).min().unwrap_or(0)
}

/// The result of searching a segment.
enum Outcome {
    /// The first of the last entries.
    Found(Ordinal),
    /// The entry down to which the segment was searched.
    DownTo(Ordinal),
}
