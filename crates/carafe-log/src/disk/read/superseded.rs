//! Finds events of compacted topics that newer events have superseded.

use std::collections::HashSet;
use std::sync::Arc;

use carafe_protocol::{Offset, TopicMatcher};

use crate::disk::format::index::milliseconds;
use crate::disk::read::keys::is_since;
use crate::disk::read::latest::LatestSearch;
use crate::disk::read::part::SegmentReader;
use crate::disk::read::pick::MatcherSet;
use crate::disk::state::DiskShared;
use crate::wanted::{Budget, Wanted};
use crate::{Access, Entry, LatestQuery, ReadError};

/// The maximum number of events that are kept as the newest of their topic. With more, nothing is
/// compacted: their offsets take 8 bytes of memory each while a pass runs.
const KEPT: usize = 16 << 20;

/// The number of entries that are picked at once.
const PICKED: usize = 4096;

/// Which events may be dropped.
///
/// An event is kept while it is the newest event of one of its topics, or the newest one that is
/// public. So an event is superseded only by events that each of its readers may see: those who see
/// private events of a topic see its public ones, too.
pub(crate) struct Superseded {
    wanted: MatcherSet,
    /// The offsets of the newest events.
    newest: HashSet<Offset>,
    /// Events after this were not looked at.
    up_to: Offset,
    /// Keys of events after this time, in milliseconds since 1970, are still remembered.
    keys_since: Option<u64>,
}

impl Superseded {
    /// Finds the newest events of these topics. `go_on` is asked between turns; `None` if it
    /// returns `false`.
    pub(crate) fn find(
        shared: &Arc<DiskShared>,
        matchers: &[TopicMatcher],
        go_on: impl Fn() -> bool,
    ) -> Result<Option<Self>, ReadError> {
        let up_to = shared.view().tail.offset;
        let mut newest = HashSet::new();
        for access in [Access::public(), Access::all()] {
            let query = LatestQuery::of(matchers.to_vec()).with_access(access).with_limit(KEPT);
            let mut search = LatestSearch::new(shared, query, u64::MAX);
            let found = loop {
                match search.step(shared)? {
                    Some(found) => break found,
                    None if go_on() => {}
                    None => return Ok(None),
                }
            };
            newest.extend(found.offsets);
        }
        let wanted = MatcherSet::new(Wanted::new(matchers.to_vec()), &shared.selections);
        let keys_since = shared.known_since(shared.clock.now());
        Ok(Some(Self { wanted, newest, up_to, keys_since }))
    }

    /// About how many bytes of a segment may be dropped.
    pub(crate) fn bytes(
        &self,
        part: &SegmentReader,
        shared: &DiskShared,
    ) -> Result<u64, ReadError> {
        let mut finder = loop {
            let mut budget = Budget::turn();
            if let Some(finder) = part.finder(&self.wanted, &shared.selections, &mut budget)? {
                break finder;
            }
        };
        let (mut at, mut bytes) = (0, 0);
        while at < part.entries() {
            let picked = part.pick(at, &mut finder, PICKED, &mut Budget::turn())?;
            let rows = part.rows(&picked.ordinals)?;
            let dropped = rows.iter().filter(|row| row.counts && self.is_old(row.offset));
            bytes += dropped.map(|row| u64::from(row.length)).sum::<u64>();
            at = picked.up_to;
        }
        Ok(bytes)
    }

    fn is_old(&self, offset: Offset) -> bool {
        offset <= self.up_to && !self.newest.contains(&offset)
    }

    /// The entry without its content, if it is superseded.
    pub(crate) fn apply(&self, entry: Entry) -> Entry {
        let publication = &entry.publication;
        let is_known_by_key =
            publication.key().is_some() && is_since(milliseconds(entry.time), self.keys_since);
        // An event with another topic, which is not compacted, stays.
        let is_compacted = |publication: &crate::Publication| {
            let mut budget = Budget::turn();
            publication.topics().all(|topic| self.wanted.wanted.matches(topic, &mut budget))
        };
        let is_superseded = publication.is_event()
            && !publication.is_internal()
            && self.is_old(entry.offset())
            && !is_known_by_key
            && is_compacted(publication);
        if !is_superseded {
            return entry;
        }
        let publication = publication.compacted();
        Entry { publication, ..entry }
    }
}
