//! Which segments there are, and what can be read from them.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use carafe_protocol::{Generation, Offset, Position, Topic, TopicMatcher};

use super::index::{ActiveIndex, Index, Ordinal, SealedIndex, Summary, first_after, select, select_all};
use super::sealed::{Sealed, Segment};
use super::segment::{End, Row};
use super::storage::Storage;
use crate::{Block, BlockLimit, Clock, Entry, Find, Follower, IdempotencyKey, ReadError, Span, Visible};

/// The most entries in one block.
const BLOCK: usize = 4096;

/// Bytes of sealed segments' indexes that are held in memory.
const CACHE: usize = 32 << 20;

/// What writer and readers share.
pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Clock,
    // Held for looking things up and for taking a commit in, never while the disk is read or written.
    state: Mutex<State>,
    cache: Mutex<VecDeque<(String, Arc<SealedIndex>)>>,
    /// Another node may still deliver what lies beyond the tail.
    supplied: bool,
}

pub(crate) struct State {
    /// The oldest first.
    pub(crate) sealed: VecDeque<Arc<Sealed>>,
    pub(crate) active: Active,
    pub(crate) tail: Position,
    pub(crate) followers: Vec<Follower>,
}

/// The segment that is being written.
pub(crate) struct Active {
    pub(crate) segment: Segment,
    // Shared only while it is written to the disk.
    pub(crate) index: Arc<ActiveIndex>,
    pub(crate) first: Option<Position>,
    pub(crate) end: End,
    /// Milliseconds since 1970 of its newest entry.
    pub(crate) newest: u64,
    /// What its index will take on the disk at most.
    pub(crate) index_bytes: u64,
}

/// Entries of a segment.
type Place = (Segment, Vec<Row>);

/// Which entries to read, and where they are.
struct Selected {
    segment: Segment,
    rows: Vec<Row>,
    /// All that is wanted of the segment is selected; its last entry.
    exhausted: Option<Position>,
}

impl State {
    /// Just before the oldest entry that is kept.
    pub(crate) fn start(&self) -> Position {
        self.sealed
            .front()
            .map_or(self.active.segment.header.previous, |oldest| oldest.segment.header.previous)
    }

    /// What the active segment's index has, and its summary.
    pub(crate) fn active_summary(&self) -> (Arc<ActiveIndex>, Summary) {
        let Active { index, first, newest, .. } = &self.active;
        let summary = Summary {
            first: first.unwrap_or(self.tail),
            last: self.tail,
            entries: index.entries(),
            newest: *newest,
        };
        (Arc::clone(index), summary)
    }

    fn sealed_with(&self, offset: Offset) -> Option<Arc<Sealed>> {
        let at = self.sealed.partition_point(|sealed| sealed.last_offset() < offset);
        self.sealed.get(at).cloned()
    }

    /// The last position of an earlier generation: the first segment of the next one names it. `None` if it is not known.
    fn end_of(&self, generation: Generation) -> Option<Position> {
        let sealed = self.sealed.iter().map(|sealed| &sealed.segment);
        let mut headers = sealed.chain([&self.active.segment]).map(|segment| segment.header);
        let next =
            headers.find(|next| next.previous.generation == generation && next.generation != generation);
        next.map(|next| next.previous)
    }

    fn knows(&self, position: Position) -> bool {
        let mut generations = self.sealed.iter().map(|sealed| sealed.segment.header.generation);
        self.tail.generation == position.generation
            || self.active.segment.header.generation == position.generation
            || self.start().generation == position.generation
            || generations.any(|generation| generation == position.generation)
    }
}

impl Shared {
    pub(crate) fn new(storage: Arc<dyn Storage>, state: State, clock: Clock, supplied: bool) -> Self {
        Self { storage, clock, state: Mutex::new(state), cache: Mutex::default(), supplied }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn span(&self) -> Span {
        let state = self.state();
        let oldest = state.sealed.front().map_or(state.active.first, |oldest| Some(oldest.summary.first));
        Span { start: state.start(), oldest, tail: state.tail }
    }

    pub(crate) fn find(&self, position: Position) -> Result<Find, ReadError> {
        let state = self.state();
        if position == state.tail || position == state.start() {
            return Ok(Find::Found);
        }
        if position.offset < state.start().offset {
            return Ok(if state.knows(position) { Find::Trimmed } else { Find::Foreign });
        }
        if position.generation == state.active.segment.header.generation
            && position.offset > state.tail.offset
        {
            // A log that was copied back by hand goes on in the same generation. Which of its newest entries differ from those
            // that the client has seen cannot be told then: the stream goes on after all of them, and the gap says so.
            // `carafe log restore` begins a new generation, and so the end of the common part is known.
            return Ok(if self.supplied { Find::Ahead } else { Find::Lost { common: state.tail } });
        }
        if let Some(common) = state.end_of(position.generation)
            && position.offset > common.offset
        {
            return Ok(Find::Lost { common });
        }
        drop(state);
        let found = self.entry_at(position.offset)?.is_some_and(|entry| entry.position == position);
        Ok(if found { Find::Found } else { Find::Foreign })
    }

    /// The time of the newest entry.
    pub(crate) fn newest_time(&self) -> Result<Option<SystemTime>, ReadError> {
        let tail = self.state().tail;
        Ok(self.entry_at(tail.offset)?.map(|entry| entry.time))
    }

    /// The entry of exactly this offset.
    fn entry_at(&self, offset: Offset) -> Result<Option<Entry>, ReadError> {
        let row_of = |index: &dyn Index| {
            let ordinal = first_after(index, offset.saturating_sub(1));
            (ordinal < index.entries()).then(|| index.row(ordinal)).filter(|row| row.offset == offset)
        };
        let (segment, row) = match self.segment_with(offset) {
            Ok(sealed) => (sealed.segment.clone(), row_of(&*self.index(&sealed)?)),
            Err(state) => (state.active.segment.clone(), row_of(&*state.active.index)),
        };
        row.map(|row| segment.entry(row)).transpose()
    }

    /// The sealed segment that has an offset, or the locked state if the active one has it.
    fn segment_with(&self, offset: Offset) -> Result<Arc<Sealed>, MutexGuard<'_, State>> {
        let state = self.state();
        state.sealed_with(offset).ok_or(state)
    }

    pub(crate) fn read(
        &self,
        after: Offset,
        wanted: &[TopicMatcher],
        limit: BlockLimit,
    ) -> Result<Block, ReadError> {
        let start = self.state().start();
        if after < start.offset {
            return Err(ReadError::Trimmed { after, start });
        }
        let selected = self.selected(after, wanted, limit.entries.clamp(1, BLOCK))?;
        let (mut entries, mut bytes, mut left) = (Vec::new(), 0, selected.rows.len());
        selected.segment.entries(&selected.rows, |entry| {
            bytes += entry.weight();
            if !entries.is_empty() && bytes > limit.bytes {
                return false;
            }
            left -= 1;
            entries.push(Arc::new(entry));
            true
        })?;
        let up_to = match selected.exhausted.filter(|_| left == 0) {
            Some(last) => last,
            None => entries.last().map_or(start, |entry: &Arc<Entry>| entry.position),
        };
        Ok(Block { entries, up_to })
    }

    fn selected(&self, after: Offset, wanted: &[TopicMatcher], count: usize) -> Result<Selected, ReadError> {
        let rows_of = |index: &dyn Index| {
            // One more tells whether there are more.
            let mut ordinals = select(index, first_after(index, after), wanted, count + 1);
            let exhausted = ordinals.len() <= count;
            ordinals.truncate(count);
            (ordinals.into_iter().map(|ordinal| index.row(ordinal)).collect(), exhausted)
        };
        let (segment, (rows, exhausted), last) = match self.segment_with(after.saturating_add(1)) {
            Ok(sealed) => (sealed.segment.clone(), rows_of(&*self.index(&sealed)?), sealed.summary.last),
            Err(state) => (state.active.segment.clone(), rows_of(&*state.active.index), state.tail),
        };
        Ok(Selected { segment, rows, exhausted: exhausted.then_some(last) })
    }

    pub(crate) fn before_last(
        &self,
        count: usize,
        wanted: &[TopicMatcher],
        visible: &Visible,
    ) -> Result<Position, ReadError> {
        let (sealed, start, mut left) = {
            let state = self.state();
            if count == 0 {
                return Ok(state.tail);
            }
            match nth_last(&*state.active.index, wanted, visible, count) {
                Ok(ordinal) => {
                    let (segment, row) =
                        (state.active.segment.clone(), before(&*state.active.index, ordinal));
                    drop(state);
                    return position_of(&segment, row);
                }
                Err(there) => (state.sealed.clone(), state.start(), count - there),
            }
        };
        for sealed in sealed.iter().rev() {
            let index = self.index(sealed)?;
            match nth_last(&*index, wanted, visible, left) {
                Ok(ordinal) => return position_of(&sealed.segment, before(&*index, ordinal)),
                Err(there) => left -= there,
            }
        }
        Ok(start)
    }

    /// Where an entry of this topic with this key is kept.
    pub(crate) fn keyed(&self, topic: &Topic, key: &IdempotencyKey) -> Result<Option<Position>, ReadError> {
        let candidates = |index: &dyn Index| index.of_topic_and_key(topic, key);
        let is_it =
            |known: &Entry| known.publication.topic() == topic && known.publication.key() == Some(key);
        // The newest first: publishers repeat what they sent just now.
        self.candidates(&candidates).rev().find_map(|place| first_of(place, is_it).transpose()).transpose()
    }

    /// The earliest visible entry with this ID that is kept, of any topic.
    pub(crate) fn find_id(
        &self,
        id: &IdempotencyKey,
        visible: &Visible,
    ) -> Result<Option<Position>, ReadError> {
        let candidates = |index: &dyn Index| {
            let mut ordinals = index.of_id(id);
            // Who has no grant sees no private entry: those need not be read.
            ordinals.retain(|ordinal| !visible.granted.is_empty() || !index.row(*ordinal).private);
            ordinals
        };
        let is_it = |known: &Entry| known.publication.id() == Some(id) && visible.shows(&known.publication);
        self.candidates(&candidates).find_map(|place| first_of(place, is_it).transpose()).transpose()
    }

    /// What the index of each segment proposes, the oldest first; an index is read only when it is its turn.
    fn candidates(
        &self,
        propose: &dyn Fn(&dyn Index) -> Vec<Ordinal>,
    ) -> impl DoubleEndedIterator<Item = Result<Place, ReadError>> {
        let rows_of =
            move |index: &dyn Index| propose(index).into_iter().map(|ordinal| index.row(ordinal)).collect();
        let (active, sealed) = {
            let state = self.state();
            ((state.active.segment.clone(), rows_of(&*state.active.index)), state.sealed.clone())
        };
        let sealed = sealed.into_iter().map(move |sealed| {
            let index = self.index(&sealed)?;
            Ok((sealed.segment.clone(), rows_of(&*index)))
        });
        sealed.chain([Ok(active)])
    }

    /// The newest entries, of about so many bytes at most, and the position before them.
    pub(crate) fn recent(
        &self,
        state: &State,
        bytes: usize,
    ) -> Result<(Position, Vec<Arc<Entry>>), ReadError> {
        let mut room = bytes;
        let (mut after, mut entries) = newest_of(&state.active.segment, &*state.active.index, &mut room)?;
        if after == state.active.segment.header.previous
            && let Some(sealed) = state.sealed.back()
        {
            let index = self.index(sealed)?;
            let (further, mut older) = newest_of(&sealed.segment, &*index, &mut room)?;
            older.append(&mut entries);
            (after, entries) = (further, older);
        }
        Ok((after, entries))
    }

    /// The index of a sealed segment: from memory, from its file, or, if that is damaged, made again.
    fn index(&self, sealed: &Sealed) -> Result<Arc<SealedIndex>, ReadError> {
        let name = &sealed.segment.name;
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = cache.iter().position(|(known, _)| known == name)
            && let Some(found) = cache.remove(at)
        {
            let index = Arc::clone(&found.1);
            cache.push_back(found);
            return Ok(index);
        }
        drop(cache);
        let index = Arc::new(self.read_index(sealed)?);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.push_back((name.clone(), Arc::clone(&index)));
        while cache.len() > 1 && cache.iter().map(|(_, index)| index.weight()).sum::<usize>() > CACHE {
            cache.pop_front();
        }
        Ok(index)
    }

    fn read_index(&self, sealed: &Sealed) -> Result<SealedIndex, ReadError> {
        let disk = |error: io::Error| ReadError::Disk(error.to_string());
        if let Ok(Some(index)) = sealed.index(&*self.storage) {
            return Ok(index);
        }
        tracing::warn!(segment = sealed.segment.name, "its index is damaged; making it again");
        let again = Sealed::index_again(&*self.storage, sealed.segment.clone());
        let again = again.map_err(|error| ReadError::Damaged(error.to_string()))?;
        again
            .index(&*self.storage)
            .map_err(disk)?
            .ok_or_else(|| ReadError::Damaged(format!("the index of {} cannot be kept", sealed.segment.name)))
    }
}

/// The position of the first entry there that is the one.
fn first_of(
    place: Result<Place, ReadError>,
    is_it: impl Fn(&Entry) -> bool,
) -> Result<Option<Position>, ReadError> {
    let (segment, rows) = place?;
    let mut found = None;
    segment.entries(&rows, |known| {
        found = is_it(&known).then_some(known.position);
        found.is_none()
    })?;
    Ok(found)
}

/// The entry after which there are `count` that are wanted; else how many there are.
fn nth_last(
    index: &dyn Index,
    wanted: &[TopicMatcher],
    visible: &Visible,
    count: usize,
) -> Result<Ordinal, usize> {
    let mut all = select_all(index, wanted);
    if !visible.granted.contains(&TopicMatcher::any()) {
        let granted = select_all(index, &visible.granted);
        let shows = |ordinal| visible.public && !index.row(ordinal).private;
        all.retain(|ordinal| shows(*ordinal) || granted.binary_search(ordinal).is_ok());
    }
    all.len().checked_sub(count).map(|at| all[at]).ok_or(all.len())
}

fn before(index: &dyn Index, ordinal: Ordinal) -> Option<Row> {
    ordinal.checked_sub(1).map(|ordinal| index.row(ordinal))
}

fn position_of(segment: &Segment, row: Option<Row>) -> Result<Position, ReadError> {
    row.map_or(Ok(segment.header.previous), |row| Ok(segment.entry(row)?.position))
}

fn newest_of(
    segment: &Segment,
    index: &dyn Index,
    room: &mut usize,
) -> Result<(Position, Vec<Arc<Entry>>), ReadError> {
    let mut first = index.entries();
    while first > 0
        && let Some(left) = room.checked_sub(index.row(first - 1).length as usize)
    {
        *room = left;
        first -= 1;
    }
    let rows: Vec<_> = (first..index.entries()).map(|ordinal| index.row(ordinal)).collect();
    let mut entries = Vec::with_capacity(rows.len());
    segment.entries(&rows, |entry| {
        entries.push(Arc::new(entry));
        true
    })?;
    Ok((position_of(segment, before(index, first))?, entries))
}
