//! Finds the newest entries of each topic, through the indexes of the segments.
//!
//! Each segment's index lists the entries of each topic. So the search reads the names of topics,
//! and of the entries only the rows of those that it finds, never their records.

use std::collections::BinaryHeap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use carafe_protocol::{Offset, Topic};

use crate::disk::format::index::Ordinal;
use crate::disk::index::active::{ActiveIndex, TopicId};
use crate::disk::index::file::{IndexFile, SegmentIndex, unreadable};
use crate::disk::read::part::SegmentReader;
use crate::disk::read::pick::{MatcherSet, Shown};
use crate::disk::state::DiskShared;
use crate::disk::view::{Place, View};
use crate::latest::{Newest, TopicKey};
use crate::wanted::{Budget, Wanted};
use crate::{Erasures, Latest, LatestQuery, ReadError};

/// The number of topics whose entries are examined together. Their rows are read in the order of
/// the entries, so the more topics, the fewer reads.
const TOGETHER: usize = 16 << 10;

/// The number of topics of an index file that are read at once.
const TOPICS: usize = 1024;

/// The number of ordinals of these topics that are read at once. Those of topics with more entries
/// are read one by one.
const ORDINALS: usize = 64 << 10;

/// What it costs to examine a candidate, and to find the next older entry of its topic, in bytes
/// that are read: a part of a page of rows, and a system call.
const CANDIDATE: usize = 512;
const OLDER: usize = 2048;

/// A search through the segments, the newest first, in turns.
pub(crate) struct LatestSearch {
    wanted: Wanted,
    public: bool,
    granted: MatcherSet,
    after: Offset,
    view: Arc<View>,
    /// The segments that are still to be searched, the oldest first.
    places: Vec<Place>,
    part: Option<Part>,
    newest: Newest,
    /// How many topics still lack entries. `None` if patterns are wanted.
    lacking: Option<usize>,
    tests: u64,
    limit: u64,
}

/// The segment that is being searched.
struct Part {
    reader: SegmentReader,
    /// The number of its topics whose entries are among the candidates or were examined.
    topics: usize,
    candidates: BinaryHeap<Candidate>,
}

/// An entry of a topic that may be the newest one. Compared by the entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    ordinal: Ordinal,
    topic: Lacking,
    list: List,
    /// How many older entries the list has.
    older: u32,
}

/// A topic that lacks entries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Lacking {
    key: TopicKey,
    /// All its entries before this offset are erased.
    erased_before: Offset,
}

/// The entries of a topic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum List {
    /// The number of the topic, in the index in memory.
    Memory(u32),
    /// The place of its first ordinal, in an index file.
    File(u32),
}

impl LatestSearch {
    pub(crate) fn new(shared: &DiskShared, query: LatestQuery, limit: u64) -> Self {
        let view = shared.view();
        let mut places: Vec<_> = view.places().collect();
        places.reverse();
        let newest = Newest::new(&query);
        let granted = Wanted::new(query.access.grant().matchers());
        let wanted = Wanted::new(query.wanted);
        Self {
            public: query.access.includes_public(),
            granted: MatcherSet::new(granted, &shared.selections),
            after: query.after,
            view,
            places,
            part: None,
            lacking: if query.count == 0 { Some(0) } else { wanted.topics().map(Iterator::count) },
            wanted,
            newest,
            tests: 0,
            limit,
        }
    }

    /// Runs one turn. `None` if the search is not finished.
    pub(crate) fn step(&mut self, shared: &DiskShared) -> Result<Option<Latest>, ReadError> {
        let mut budget = Budget::turn();
        let searched = self.search(shared, &mut budget);
        shared.spent(&budget);
        self.tests += budget.tests();
        let is_over = match searched {
            // The segment was trimmed meanwhile, and so were all older ones.
            Err(ReadError::Trimmed { .. }) => true,
            is_over => is_over?,
        };
        if is_over {
            return Ok(Some(self.newest.finish(self.view.tail)));
        }
        if self.tests > self.limit {
            return Err(ReadError::TooMuchWork { limit: self.limit });
        }
        Ok(None)
    }

    /// Searches while the budget lasts. Returns whether everything is found.
    fn search(&mut self, shared: &DiskShared, budget: &mut Budget) -> Result<bool, ReadError> {
        while !budget.is_spent() {
            if self.lacking == Some(0) {
                return Ok(true);
            }
            let mut part = match self.part.take() {
                Some(part) => part,
                None => match self.next_part(shared, budget)? {
                    Some(part) => part,
                    None => return Ok(true),
                },
            };
            if part.candidates.is_empty() && self.gather(&mut part, budget)? {
                continue;
            }
            self.examine(&mut part, shared, budget)?;
            self.part = Some(part);
        }
        Ok(false)
    }

    /// The next segment that may have a wanted entry.
    fn next_part(
        &mut self,
        shared: &DiskShared,
        budget: &mut Budget,
    ) -> Result<Option<Part>, ReadError> {
        while let Some(place) = self.places.pop() {
            budget.examine();
            if let Place::Sealed(sealed) = &place {
                if sealed.last_offset() <= self.after {
                    return Ok(None);
                }
                if !sealed.may_have_any_of(&self.wanted) {
                    continue;
                }
            }
            let reader = shared.part(&self.view, &place)?;
            return Ok(Some(Part { reader, topics: 0, candidates: BinaryHeap::new() }));
        }
        Ok(None)
    }

    /// Adds the newest entries of further topics to the candidates. Returns whether there is no
    /// further topic.
    fn gather(&mut self, part: &mut Part, budget: &mut Budget) -> Result<bool, ReadError> {
        let Part { reader, topics, candidates } = part;
        let Self { wanted, newest, .. } = self;
        let erasures = reader.erasures.as_deref();
        let mut gather = Gather { wanted, newest, erasures, candidates, budget };
        match &reader.index {
            SegmentIndex::Memory(index, end) => gather.in_memory(index, *end, topics),
            SegmentIndex::File(file) => gather.in_file(file, topics).map_err(unreadable)?,
        }
        let all = match wanted.topics() {
            Some(wanted) => wanted.count(),
            None => topics_of(reader),
        };
        Ok(part.candidates.is_empty() && part.topics >= all)
    }

    /// Examines the candidates, the newest first: each is the newest entry of its topic, unless the
    /// reader may not see it.
    fn examine(
        &mut self,
        part: &mut Part,
        shared: &DiskShared,
        budget: &mut Budget,
    ) -> Result<(), ReadError> {
        let Part { reader, candidates, .. } = part;
        let reader = &*reader;
        let granted = (self.public, &self.granted);
        let Some(mut shown) = Shown::of(reader, granted, &shared.selections, budget)? else {
            return Ok(());
        };
        while !budget.is_spent()
            && let Some(candidate) = candidates.pop()
        {
            budget.read(CANDIDATE);
            let offset = shown.offset(reader, candidate.ordinal)?;
            // The list is in order: all others of it are older.
            if offset <= self.after || offset < candidate.topic.erased_before {
                continue;
            }
            let is_complete = shown.counts(reader, candidate.ordinal, budget)?
                && self.newest.add(candidate.topic.key, offset)?;
            if is_complete {
                self.lacking = self.lacking.map(|lacking| lacking - 1);
            } else {
                budget.read(OLDER);
                candidates.extend(candidate.older(&reader.index)?);
            }
        }
        Ok(())
    }
}

impl Candidate {
    /// The next older entry of the topic.
    fn older(self, index: &SegmentIndex) -> Result<Option<Self>, ReadError> {
        let Some(older) = self.older.checked_sub(1) else { return Ok(None) };
        let ordinal = match (index, self.list) {
            (SegmentIndex::Memory(index, end), List::Memory(topic)) => {
                Some(index.topics.list(topic, *end).get(older))
            }
            (SegmentIndex::File(file), List::File(first)) => {
                let at = first as usize + older as usize;
                file.ordinals(at..at + 1).map_err(unreadable)?.pop()
            }
            // The index of a part does not change while it is searched.
            _ => None,
        };
        Ok(ordinal.map(|ordinal| Self { ordinal, older, ..self }))
    }
}

/// The number of topics of a segment.
fn topics_of(reader: &SegmentReader) -> usize {
    match &reader.index {
        SegmentIndex::Memory(index, _) => index.topics.lists() as usize,
        SegmentIndex::File(file) => file.counts().topics,
    }
}

/// Gathers candidates.
struct Gather<'a, 'b> {
    wanted: &'a Wanted,
    newest: &'a Newest,
    erasures: Option<&'a Erasures>,
    candidates: &'a mut BinaryHeap<Candidate>,
    budget: &'b mut Budget,
}

impl Gather<'_, '_> {
    fn may_continue(&self) -> bool {
        self.candidates.len() < TOGETHER && !self.budget.is_spent()
    }

    /// The topic, if it is wanted and lacks entries. One that lacks nothing is not tested with the
    /// patterns.
    fn lacks(&mut self, name: &str) -> Option<Lacking> {
        self.budget.examine();
        let key = self.newest.key(name);
        if self.newest.is_complete(key) {
            return None;
        }
        if self.wanted.any() && self.erasures.is_none() {
            return Some(Lacking { key, erased_before: 0 });
        }
        let topic = Topic::new(name).ok();
        let matches = |topic| self.wanted.matches(topic, self.budget);
        if !self.wanted.any() && !topic.as_ref().is_some_and(matches) {
            return None;
        }
        let erased_before = topic.and_then(|topic| self.erasures?.before(&topic));
        Some(Lacking { key, erased_before: erased_before.unwrap_or(0) })
    }

    fn add(&mut self, topic: Lacking, ordinal: Ordinal, list: List, older: u32) {
        self.candidates.push(Candidate { ordinal, topic, list, older });
    }

    fn in_memory(&mut self, index: &ActiveIndex, end: Ordinal, topics: &mut usize) {
        if let Some(wanted) = self.wanted.topics() {
            for topic in wanted.skip(*topics) {
                *topics += 1;
                if let Some(id) = index.topic(topic) {
                    self.in_list(index, end, id, topic.as_str());
                }
            }
            return;
        }
        let all = index.topics.lists() as usize;
        while *topics < all && self.may_continue() {
            let id = *topics as TopicId;
            *topics += 1;
            if let Some(name) = index.name(id) {
                self.in_list(index, end, id, name.as_str());
            }
        }
    }

    fn in_list(&mut self, index: &ActiveIndex, end: Ordinal, id: TopicId, name: &str) {
        let Some(topic) = self.lacks(name) else { return };
        let list = index.topics.list(id, end);
        // Empty if its first entry was appended after the view.
        if let Some(older) = list.len().checked_sub(1) {
            self.add(topic, list.get(older), List::Memory(id), older);
        }
    }

    fn in_file(&mut self, file: &IndexFile, topics: &mut usize) -> io::Result<()> {
        if let Some(wanted) = self.wanted.topics() {
            for topic in wanted.skip(*topics) {
                *topics += 1;
                if let Some(lacking) = self.lacks(topic.as_str()) {
                    self.in_places(file, lacking, file.of_topic(topic)?)?;
                }
            }
            return Ok(());
        }
        let all = file.counts().topics;
        while *topics < all && self.may_continue() {
            *topics += self.in_rows(file, *topics..all.min(*topics + TOPICS))?;
        }
        Ok(())
    }

    /// Gathers those of some topics, and returns how many those are.
    fn in_rows(&mut self, file: &IndexFile, topics: Range<usize>) -> io::Result<usize> {
        let rows = file.topics(topics)?;
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(1) };
        let names = file.names(first.name.start..last.name.end)?;
        let mut near = Near::default();
        for row in &rows {
            let name = &names[row.name.start - first.name.start..row.name.end - first.name.start];
            let Some(topic) = std::str::from_utf8(name).ok().and_then(|name| self.lacks(name))
            else {
                continue;
            };
            let Some(newest) = row.ordinals.end.checked_sub(1) else { continue };
            let within = first.ordinals.start..last.ordinals.end;
            if let Some(ordinal) = near.get(file, newest, within)? {
                let older = (newest - row.ordinals.start) as u32;
                self.add(topic, ordinal, List::File(row.ordinals.start as u32), older);
            }
        }
        Ok(rows.len())
    }

    fn in_places(
        &mut self,
        file: &IndexFile,
        topic: Lacking,
        places: Range<usize>,
    ) -> io::Result<()> {
        let Some(older) = places.len().checked_sub(1) else { return Ok(()) };
        if let Some(ordinal) = file.ordinals(places.end - 1..places.end)?.pop() {
            self.add(topic, ordinal, List::File(places.start as u32), older as u32);
        }
        Ok(())
    }
}

/// The ordinals of topics that are next to each other in a file: they are read at once when the
/// first of them is wanted.
#[derive(Default)]
struct Near {
    from: usize,
    ordinals: Vec<Ordinal>,
}

impl Near {
    fn get(
        &mut self,
        file: &IndexFile,
        at: usize,
        within: Range<usize>,
    ) -> io::Result<Option<Ordinal>> {
        if within.len() > ORDINALS {
            return Ok(file.ordinals(at..at + 1)?.pop());
        }
        if self.ordinals.is_empty() {
            (self.from, self.ordinals) = (within.start, file.ordinals(within)?);
        }
        Ok(self.ordinals.get(at - self.from).copied())
    }
}
