//! Finds events of compacted topics that newer events have superseded.

use carafe_protocol::{Offset, Topic, TopicMatcher};

use crate::disk::format::index::{Ordinal, milliseconds, parts};
use crate::disk::index::file::{IndexFile, SegmentIndex, unreadable};
use crate::disk::read::latest::LatestSearch;
use crate::disk::read::part::SegmentReader;
use crate::disk::read::selection::{Partial, Selection};
use crate::disk::state::DiskShared;
use crate::wanted::{Budget, Wanted};
use crate::{Access, Entry, LatestQuery, Publication, ReadError};

/// The maximum number of topics that can be compacted. With more, nothing is. They take some 100
/// bytes of memory each while the newest events are searched: in `Newest`, for the most part.
pub(crate) const COMPACTED_TOPICS: usize = 1_000_000;

/// The number of rows or keys that are read at once.
const ROWS: usize = 4096;

/// Which events may be dropped.
///
/// An event is kept while it is the newest event of one of its topics, or the newest one that is
/// public. So an event is superseded only by events that each of its readers may see: those who see
/// private events of a topic see its public ones, too. A private event of several topics stays:
/// who may see it by one of them need not see the newest events of the others.
pub(crate) struct Superseded {
    compacted: Wanted,
    /// The offsets of the newest events, in order.
    newest: Vec<Offset>,
    /// Events after this were not looked at.
    up_to: Offset,
    /// Keys of events after this time, in milliseconds since 1970, still decide.
    decides_since: u64,
}

impl Superseded {
    /// Finds the newest events of these topics. `go_on` is asked between turns; `None` if it
    /// returns `false`.
    pub(crate) fn find(
        shared: &DiskShared,
        matchers: &[TopicMatcher],
        limit: usize,
        go_on: impl Fn() -> bool,
    ) -> Result<Option<Self>, ReadError> {
        let up_to = shared.view().tail.offset;
        let mut newest = Vec::new();
        for access in [Access::public(), Access::all()] {
            let query = LatestQuery::of(matchers.to_vec()).with_access(access).with_limit(limit);
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
        newest.sort_unstable();
        newest.dedup();
        let decides_since = milliseconds(shared.decides_since());
        let compacted = Wanted::new(matchers.to_vec());
        Ok(Some(Self { compacted, newest, up_to, decides_since }))
    }

    /// How many bytes of a segment have the events that [`apply`](Self::apply) would empty. Fewer,
    /// if some keys of the segment are still remembered and others are not.
    pub(crate) fn bytes(&self, part: &SegmentReader) -> Result<u64, ReadError> {
        // A later pass looks at a segment whose index is not written yet.
        let SegmentIndex::File(file) = &part.index else { return Ok(0) };
        let Some(staying) = self.staying(file).map_err(unreadable)? else { return Ok(0) };
        let several = with_several_topics(file).map_err(unreadable)?;
        let mut bytes = 0;
        for part in parts(0..file.entries() as usize, ROWS) {
            let part = part.start as Ordinal..part.end as Ordinal;
            let rows = file.run(part.clone()).map_err(unreadable)?;
            for (ordinal, row) in part.zip(rows) {
                let stays = staying.contains(ordinal) || (row.private && several.contains(ordinal));
                if row.counts && self.is_old(row.offset) && !stays {
                    bytes += u64::from(row.length);
                }
            }
        }
        Ok(bytes)
    }

    /// The entries that stay however old they are: those with a topic that is not compacted, and
    /// those whose key may still be remembered. `None` if no topic is compacted.
    fn staying(&self, file: &IndexFile) -> std::io::Result<Option<Selection>> {
        let (mut staying, mut has_compacted) = (Partial::default(), false);
        staying.begin(file.entries());
        let mut is_over = false;
        while !is_over {
            is_over = staying.test_topics(file, &mut Budget::turn(), |topic, budget| {
                let is_compacted = self.compacted.matches(topic, budget);
                has_compacted |= is_compacted;
                Ok((!is_compacted).then_some(Ordinal::MAX))
            })?;
        }
        if !has_compacted {
            return Ok(None);
        }
        if file.counts().summary.newest > self.decides_since {
            for part in parts(0..file.counts().topic_keys, ROWS) {
                let keys = file.keys(part)?;
                keys.into_iter().for_each(|(_, ordinal)| staying.set(ordinal));
            }
        }
        Ok(Some(Selection::new(staying.bits)))
    }

    fn is_old(&self, offset: Offset) -> bool {
        offset <= self.up_to && self.newest.binary_search(&offset).is_err()
    }

    /// The entry without its content, if it is superseded.
    pub(crate) fn apply(&self, entry: Entry) -> Entry {
        let publication = &entry.publication;
        let is_known_by_key =
            publication.key().is_some() && milliseconds(entry.time) > self.decides_since;
        // An event with another topic, which is not compacted, stays.
        let is_compacted = |publication: &Publication| {
            let mut budget = Budget::turn();
            publication.topics().all(|topic: &Topic| self.compacted.matches(topic, &mut budget))
        };
        let is_other = |topic: &Topic| topic != publication.topic();
        let is_superseded = publication.counts()
            && self.is_old(entry.offset())
            && !is_known_by_key
            && !(publication.is_private() && publication.topics().any(is_other))
            && is_compacted(publication);
        if !is_superseded {
            return entry;
        }
        let publication = publication.compacted();
        Entry { publication, ..entry }
    }
}

/// The entries that are listed for several topics.
fn with_several_topics(file: &IndexFile) -> std::io::Result<Selection> {
    let (mut seen, mut several) = (Partial::default(), Partial::default());
    let ordinals = file.counts().ordinals;
    // Each entry has a topic.
    if ordinals > file.counts().rows() {
        seen.begin(file.entries());
        several.begin(file.entries());
        for part in parts(0..ordinals, ROWS) {
            for ordinal in file.ordinals(part)? {
                if seen.has(ordinal) { several.set(ordinal) } else { seen.set(ordinal) }
            }
        }
    }
    Ok(Selection::new(several.bits))
}
