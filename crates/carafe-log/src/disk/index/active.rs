//! The index of the segment that is being written. The writer thread adds entries while reader
//! threads look them up.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use carafe_protocol::{Offset, Topic};

use crate::disk::format::commit::Row;
use crate::disk::format::control;
use crate::disk::format::filter::{self, HashKind};
use crate::disk::format::header::Header;
use crate::disk::format::index::{
    KEY, Ordinal, TOPIC, WIDE_ROW, WORD, hash, head_size, marked_length, row, row_words,
};
use crate::disk::index::paged::Paged;
use crate::disk::index::postings::{List, ListId, Postings};
use crate::disk::pace::Pace;
use crate::{Entry, ExternalId, IdempotencyKey};

/// The number of a topic within its segment, from 0.
pub(crate) type TopicId = ListId;

/// Marks an entry with several topics. The other bits are the place of the list of its topics.
const SEVERAL: u32 = 1 << 31;

/// The topics, keys and IDs of the entries of a segment, and the places of their records.
///
/// Lock-free for readers, and nothing is copied. A reader considers only the number of entries that
/// its `View` counts, and skips entries that were added later.
pub(crate) struct ActiveIndex {
    base: Offset,
    pub(crate) salt: u32,
    /// The number of words that a row takes in the file.
    row: usize,
    rows: Paged<PackedRow>,
    /// The higher bits of the offsets, if rows are wide.
    high: Paged<AtomicU32>,
    /// The topics of each entry with several topics: their number, then each.
    several: Paged<AtomicU32>,
    names: Paged<OnceLock<Topic>>,
    pub(crate) topics: Postings,
    pub(crate) topic_keys: Postings,
    pub(crate) ids: Postings,
    entries: AtomicU32,
    /// The number of entries that the hub published itself.
    of_hub: AtomicU32,
    /// The size of the index file in bytes, without its checksum.
    bytes: AtomicUsize,
    /// The table of control entries, encoded. The writer adds to it, and whoever writes the index
    /// file reads it.
    control: Mutex<Vec<u8>>,
    // Used by the writer alone, so it is never contended: the place of the next list of topics.
    filled: Mutex<u32>,
}

#[derive(Default)]
struct PackedRow {
    offset: AtomicU32,
    at: AtomicU32,
    length: AtomicU32,
    topics: AtomicU32,
}

impl ActiveIndex {
    /// The index of a segment without entries.
    pub(crate) fn new(header: &Header) -> Self {
        Self {
            base: header.previous.offset,
            salt: header.salt,
            row: row_words(header),
            rows: Paged::default(),
            high: Paged::default(),
            several: Paged::default(),
            names: Paged::default(),
            topics: Postings::default(),
            topic_keys: Postings::default(),
            ids: Postings::default(),
            entries: AtomicU32::new(0),
            of_hub: AtomicU32::new(0),
            bytes: AtomicUsize::new(head_size(header)),
            control: Mutex::default(),
            filled: Mutex::default(),
        }
    }

    /// Drops the index without a long pause for others.
    pub(crate) fn drop_in_steps(self, pace: &Pace<'_>) {
        self.rows.drop_in_steps(pace);
        self.high.drop_in_steps(pace);
        self.several.drop_in_steps(pace);
        self.names.drop_in_steps(pace);
        for postings in [self.topics, self.topic_keys, self.ids] {
            postings.drop_in_steps(pace);
        }
    }

    /// Adds the next entry. Only the writer thread may call this.
    ///
    /// The stores of a row are `Relaxed`. The `Release` store of `entries` at the end publishes
    /// them: a reader that loads the count with `Acquire`, or gets it from a `View`, sees all rows
    /// below it.
    pub(crate) fn push(&self, entry: &Entry, row: Row) {
        let ordinal = self.entries();
        let mut topics: Vec<TopicId> = Vec::with_capacity(1);
        for topic in entry.publication.topics() {
            // An event may have the same topic twice. Each topic lists the entry once.
            if topics.is_empty() || !self.is_last(topic, ordinal) {
                topics.push(self.push_topic(topic, ordinal));
            }
        }
        if let Some(key) = entry.publication.key() {
            let hash = self.key_hash(entry.publication.topic(), key);
            self.topic_keys.push(hash, ordinal, |_| true, |_| {});
        }
        if let Some(id) = entry.publication.external_id() {
            self.ids.push(self.id_hash(id), ordinal, |_| true, |_| {});
        }
        let keys = usize::from(entry.publication.key().is_some())
            + usize::from(entry.publication.external_id().is_some());
        self.grow(self.row + topics.len() + keys * KEY, self.push_control(entry));
        self.push_row(ordinal, row, &topics);
        self.of_hub.fetch_add(u32::from(entry.publication.is_of_hub()), Ordering::Relaxed);
        self.entries.store(ordinal + 1, Ordering::Release);
    }

    fn is_last(&self, topic: &Topic, ordinal: Ordinal) -> bool {
        self.of_topic(topic, Ordinal::MAX).last() == Some(ordinal)
    }

    fn push_topic(&self, topic: &Topic, ordinal: Ordinal) -> TopicId {
        let begin = |id: TopicId| {
            self.grow(TOPIC, topic.as_str().len());
            drop(self.names.slot(id as usize).set(topic.clone()));
        };
        self.topics.push(self.topic_hash(topic), ordinal, |id| self.name(id) == Some(topic), begin)
    }

    fn push_row(&self, ordinal: Ordinal, row: Row, topics: &[TopicId]) {
        let (within, packed) = (row.offset - self.base, self.rows.slot(ordinal as usize));
        packed.offset.store(within as u32, Ordering::Relaxed);
        if self.is_wide() {
            let high = (within >> 32) as u32;
            self.high.slot(ordinal as usize).store(high, Ordering::Relaxed);
        } else {
            assert!(within <= u64::from(u32::MAX), "the segment is ended before");
        }
        packed.at.store(row.at, Ordering::Relaxed);
        packed.length.store(marked_length(&row), Ordering::Relaxed);
        let topics = if let [topic] = topics { *topic } else { self.push_several(topics) };
        packed.topics.store(topics, Ordering::Relaxed);
    }

    /// Returns by how many bytes the table has grown.
    fn push_control(&self, entry: &Entry) -> usize {
        let mut table = self.lock_control();
        let before = table.len();
        control::put(entry, self.salt, &mut table);
        table.len() - before
    }

    /// The table of control entries.
    pub(crate) fn control(&self) -> Vec<u8> {
        self.lock_control().clone()
    }

    pub(crate) fn lock_control(&self) -> MutexGuard<'_, Vec<u8>> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push_several(&self, topics: &[TopicId]) -> u32 {
        let mut filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner);
        let place = *filled;
        for word in [topics.len() as u32].iter().chain(topics) {
            self.several.slot(*filled as usize).store(*word, Ordering::Relaxed);
            *filled += 1;
        }
        place | SEVERAL
    }

    fn grow(&self, words: usize, bytes: usize) {
        self.bytes.fetch_add(words * WORD + bytes, Ordering::Relaxed);
    }

    /// The size of the index file and the filter file in bytes.
    pub(crate) fn file_bytes(&self) -> u64 {
        (self.bytes.load(Ordering::Relaxed) + WORD + filter::file_len(self.hashes())) as u64
    }

    /// The number of distinct topics, keys and IDs.
    pub(crate) fn hashes(&self) -> usize {
        self.postings().iter().map(|(_, postings)| postings.lists() as usize).sum()
    }

    /// Whether an entry has this hash.
    pub(crate) fn has(&self, kind: HashKind, hash: u64) -> bool {
        let [topics, keys, ids] = self.postings();
        let postings = match kind {
            HashKind::Topic => topics.1,
            HashKind::Key => keys.1,
            HashKind::Id => ids.1,
        };
        postings.find(hash, |_| true).is_some()
    }

    pub(crate) fn postings(&self) -> [(HashKind, &Postings); 3] {
        [
            (HashKind::Topic, &self.topics),
            (HashKind::Key, &self.topic_keys),
            (HashKind::Id, &self.ids),
        ]
    }

    /// The number of entries. The writer may have added more than the view of a reader counts.
    pub(crate) fn entries(&self) -> Ordinal {
        self.entries.load(Ordering::Acquire)
    }

    /// The number of entries that the hub published itself. They do not count toward the limits.
    /// `Relaxed`: the value is only used by the writer and after the segment is sealed.
    pub(crate) fn of_hub(&self) -> Ordinal {
        self.of_hub.load(Ordering::Relaxed)
    }

    pub(crate) fn row(&self, ordinal: Ordinal) -> Row {
        let load = |word: fn(&PackedRow) -> &AtomicU32| {
            self.rows.get(ordinal as usize).map_or(0, |row| word(row).load(Ordering::Relaxed))
        };
        let offset = self.base + self.offset_within(ordinal);
        row(offset, load(|row| &row.at), load(|row| &row.length))
    }

    /// The offset of an entry, counted from the position before the segment.
    pub(crate) fn offset_within(&self, ordinal: Ordinal) -> u64 {
        let at = ordinal as usize;
        let low = self.rows.get(at).map_or(0, |row| row.offset.load(Ordering::Relaxed));
        if !self.is_wide() {
            return u64::from(low);
        }
        let high = self.high.get(at).map_or(0, |high| high.load(Ordering::Relaxed));
        u64::from(low) | u64::from(high) << 32
    }

    /// Whether a row has room for offsets that span 2^32 and more.
    pub(crate) fn is_wide(&self) -> bool {
        self.row == WIDE_ROW
    }

    /// The first entry after an offset, among the first `end` entries.
    pub(crate) fn first_after(&self, offset: Offset, end: Ordinal) -> Ordinal {
        let (mut low, mut high) = (0, end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.row(middle).offset <= offset { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Whether `accept` accepts one of the topics of an entry.
    pub(crate) fn any_topic(
        &self,
        ordinal: Ordinal,
        mut accept: impl FnMut(TopicId) -> bool,
    ) -> bool {
        let topics =
            self.rows.get(ordinal as usize).map_or(0, |row| row.topics.load(Ordering::Relaxed));
        if topics & SEVERAL == 0 {
            return accept(topics);
        }
        let word =
            |at: u32| self.several.get(at as usize).map_or(0, |word| word.load(Ordering::Relaxed));
        let place = topics & !SEVERAL;
        (1..=word(place)).any(|at| accept(word(place + at)))
    }

    pub(crate) fn name(&self, topic: TopicId) -> Option<&Topic> {
        self.names.get(topic as usize)?.get()
    }

    /// The number of a topic.
    pub(crate) fn topic(&self, topic: &Topic) -> Option<TopicId> {
        self.topics.find(self.topic_hash(topic), |id| self.name(id) == Some(topic))
    }

    /// The entries of a topic before `end`.
    pub(crate) fn of_topic(&self, topic: &Topic, end: Ordinal) -> List<'_> {
        self.topics.list_of(self.topic_hash(topic), end, |id| self.name(id) == Some(topic))
    }

    /// Entries that may have a topic and a key with this hash.
    pub(crate) fn of_key(&self, hash: u64, end: Ordinal) -> List<'_> {
        self.topic_keys.list_of(hash, end, |_| true)
    }

    /// Entries of any topic that may have this external ID: their hashes are equal.
    pub(crate) fn of_external_id(&self, id: &ExternalId, end: Ordinal) -> List<'_> {
        self.ids.list_of(self.id_hash(id), end, |_| true)
    }

    fn topic_hash(&self, topic: &Topic) -> u64 {
        hash(&[topic.as_str()], self.salt)
    }

    fn key_hash(&self, topic: &Topic, key: &IdempotencyKey) -> u64 {
        hash(&[topic.as_str(), key.as_str()], self.salt)
    }

    fn id_hash(&self, id: &ExternalId) -> u64 {
        hash(&[id.as_str()], self.salt)
    }
}
