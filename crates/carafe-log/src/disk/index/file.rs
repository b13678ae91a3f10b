//! Lookups in the index file of a sealed segment. They read only the parts that they need.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use carafe_protocol::{Offset, Topic};

use crate::disk::format::commit::Row;
use crate::disk::format::control;
use crate::disk::format::header::Header;
use crate::disk::format::index::{Counts, KEY, Ordinal, ROW, TOPIC, WORD, hash, head_size, row};
use crate::disk::format::record::checksum;
use crate::disk::index::active::ActiveIndex;
use crate::disk::storage::StorageFile;
use crate::{Entry, ExternalId, ReadError};

/// The number of rows or keys that are read at once: one page of the page cache.
const RUN: u32 = 340;

/// The number of interpolation steps before a lookup uses binary search.
const GUESSES: usize = 8;

/// The number of bytes that are read at once to check a whole file.
const WINDOW: usize = 256 << 10;

/// The index of one segment.
pub(crate) enum SegmentIndex {
    /// The index in memory, of which only this number of entries counts.
    Memory(Arc<ActiveIndex>, Ordinal),
    File(IndexFile),
}

pub(crate) fn unreadable(error: io::Error) -> ReadError {
    ReadError::Disk(error.into())
}

/// An open index file. It can still be read after it is removed.
pub(crate) struct IndexFile {
    file: Arc<dyn StorageFile>,
    header: Header,
    counts: Counts,
}

/// The places of the name and of the entries of a topic.
pub(crate) struct TopicPlaces {
    pub(crate) name: Range<usize>,
    pub(crate) ordinals: Range<usize>,
}

impl IndexFile {
    /// Reads the head. `None` if it is damaged, or if the file has another length than it says.
    pub(crate) fn open(file: Arc<dyn StorageFile>, header: Header) -> io::Result<Option<Self>> {
        let size = usize::try_from(file.size()?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; head_size(&header).min(size)];
        file.read_at(0, &mut bytes)?;
        let Some(counts) = Counts::decode(&bytes, &header) else { return Ok(None) };
        Ok((size == counts.end() + WORD).then_some(Self { file, header, counts }))
    }

    /// Whether the checksum of the whole file is right. All lookups rely on this.
    pub(crate) fn is_good(&self) -> io::Result<bool> {
        let end = self.counts.end();
        let (mut at, mut sum) = (0, self.header.salt);
        let mut window = vec![0; WINDOW.min(end)];
        while at < end {
            let part = &mut window[..WINDOW.min(end - at)];
            self.file.read_at(at as u64, part)?;
            sum = checksum(sum, part);
            at += part.len();
        }
        Ok(self.words(end, 1)? == [sum])
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(crate) fn entries(&self) -> Ordinal {
        self.counts.summary.entries
    }

    fn words(&self, at: usize, count: usize) -> io::Result<Vec<u32>> {
        let mut bytes = vec![0; count * WORD];
        self.file.read_at(at as u64, &mut bytes)?;
        Ok(bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }

    fn keys_at(&self) -> usize {
        self.counts.head + self.counts.rows() * self.counts.row * WORD
    }

    fn topics_at(&self) -> usize {
        self.keys_at() + (self.counts.topic_keys + self.counts.ids) * KEY * WORD
    }

    fn ordinals_at(&self) -> usize {
        self.topics_at() + self.counts.topics * TOPIC * WORD
    }

    /// The control entries. `None` if the table is damaged: opening reads it without the rest of
    /// the file, so it does not know the checksum of the whole.
    pub(crate) fn control(&self) -> io::Result<Option<Vec<Entry>>> {
        let mut bytes = vec![0; self.counts.control];
        self.file.read_at(self.counts.control_at() as u64, &mut bytes)?;
        Ok(control::decode(&bytes, &self.header))
    }

    /// The rows of a range of entries.
    pub(crate) fn run(&self, entries: Range<Ordinal>) -> io::Result<Vec<Row>> {
        let (base, size) = (self.header.previous.offset, self.counts.row);
        let words = self
            .words(self.counts.head + entries.start as usize * size * WORD, entries.len() * size)?;
        let row = |words: &[u32]| {
            let within = [words[0], words.get(ROW).copied().unwrap_or(0)].map(u64::from);
            row(base + (within[0] | within[1] << 32), words[1], words[2])
        };
        Ok(words.chunks_exact(size).map(row).collect())
    }

    /// The rows of these entries, which are in order. Neighbours are read at once.
    pub(crate) fn rows(&self, ordinals: &[Ordinal]) -> io::Result<Vec<Row>> {
        let (mut rows, mut rest) = (Vec::with_capacity(ordinals.len()), ordinals);
        while let Some(first) = rest.first() {
            let count = rest.partition_point(|ordinal| ordinal - first < RUN);
            let run = self.run(*first..rest[count - 1] + 1)?;
            rows.extend(rest[..count].iter().map(|ordinal| run[(ordinal - first) as usize]));
            rest = &rest[count..];
        }
        Ok(rows)
    }

    /// The first entry after an offset.
    pub(crate) fn first_after(&self, offset: Offset) -> io::Result<Ordinal> {
        let (first, last) = (self.header.previous.offset, self.counts.summary.last.offset);
        let entries = self.entries();
        // Only offsets that another node assigned have gaps. Without gaps, no search is needed.
        if last - first == u64::from(entries) {
            return Ok(u32::try_from(offset.saturating_sub(first)).unwrap_or(entries).min(entries));
        }
        let (mut low, mut high) = (0, entries);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.run(middle..middle + 1)?[0].offset <= offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// Entries that may have a topic and a key with this hash.
    pub(crate) fn of_key(&self, hash: u64) -> io::Result<Vec<Ordinal>> {
        self.keyed(0..self.counts.topic_keys, hash)
    }

    /// Entries of any topic that may have this external ID, in order: their hashes are equal.
    pub(crate) fn of_external_id(&self, id: &ExternalId) -> io::Result<Vec<Ordinal>> {
        let table = self.counts.topic_keys..self.counts.topic_keys + self.counts.ids;
        self.keyed(table, hash(&[id.as_str()], self.header.salt))
    }

    /// The entries of a hash. Hashes are evenly distributed, so an interpolation search needs few
    /// reads.
    fn keyed(&self, table: Range<usize>, wanted: u64) -> io::Result<Vec<Ordinal>> {
        let (mut low, mut high, mut lowest, mut highest) = (table.start, table.end, 0, u64::MAX);
        let run = RUN as usize;
        for _ in 0..GUESSES {
            if high - low <= run {
                break;
            }
            let share = (wanted - lowest) as f64 / ((highest - lowest) as f64).max(1.0);
            let guess = low + ((high - low) as f64 * share) as usize;
            let from = guess.saturating_sub(run / 2).clamp(low, high - run);
            let keys = self.keys(from..from + run)?;
            match (keys[0].0, keys[run - 1].0) {
                (first, _) if wanted <= first => (high, highest) = (from + 1, first),
                (_, last) if wanted > last => (low, lowest) = (from + run, last),
                (_, last) if wanted < last => return Ok(of_hash(&keys, wanted)),
                // Entries of the hash may follow this run.
                _ => return self.keyed_from(from..from + run, table.end, wanted),
            }
        }
        self.keyed_from(low..high, table.end, wanted)
    }

    /// The entries of a hash whose first key is in a range, by binary search.
    fn keyed_from(&self, range: Range<usize>, end: usize, wanted: u64) -> io::Result<Vec<Ordinal>> {
        let (mut low, mut high) = (range.start, range.end);
        while high - low > RUN as usize {
            let middle = low + (high - low) / 2;
            if self.keys(middle..middle + 1)?[0].0 < wanted {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let mut found = Vec::new();
        while low < end {
            let run = self.keys(low..end.min(low + RUN as usize))?;
            low += run.len();
            found.extend(of_hash(&run, wanted));
            if run.last().is_none_or(|(hash, _)| *hash > wanted) {
                break;
            }
        }
        Ok(found)
    }

    /// A range of the table of keys, which the IDs follow.
    pub(crate) fn keys(&self, range: Range<usize>) -> io::Result<Vec<(u64, Ordinal)>> {
        let words = self.words(self.keys_at() + range.start * KEY * WORD, range.len() * KEY)?;
        let key = |key: &[u32; KEY]| (u64::from(key[0]) << 32 | u64::from(key[1]), key[2]);
        Ok(words.as_chunks().0.iter().map(key).collect())
    }

    /// A range of topics, in the order of their names.
    pub(crate) fn topics(&self, range: Range<usize>) -> io::Result<Vec<TopicPlaces>> {
        let words =
            self.words(self.topics_at() + range.start * TOPIC * WORD, range.len() * TOPIC)?;
        let places = |from: u32, count: u32| from as usize..from as usize + count as usize;
        let topic = |topic: &[u32; TOPIC]| TopicPlaces {
            name: places(topic[0], topic[1]),
            ordinals: places(topic[2], topic[3]),
        };
        Ok(words.as_chunks().0.iter().map(topic).collect())
    }

    /// A range of the names.
    pub(crate) fn names(&self, range: Range<usize>) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; range.len()];
        self.file.read_at((self.counts.names_at() + range.start) as u64, &mut bytes)?;
        Ok(bytes)
    }

    /// A range of the table of ordinals.
    pub(crate) fn ordinals(&self, range: Range<usize>) -> io::Result<Vec<Ordinal>> {
        self.words(self.ordinals_at() + range.start * WORD, range.len())
    }

    /// The place of the entries of a topic. Empty if there are none.
    pub(crate) fn of_topic(&self, topic: &Topic) -> io::Result<Range<usize>> {
        let wanted = topic.as_str().as_bytes();
        let (mut low, mut high) = (0, self.counts.topics);
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(at) = self.topics(middle..middle + 1)?.pop() else { break };
            let name = self.names(at.name)?;
            match name.as_slice().cmp(wanted) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(at.ordinals),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(0..0)
    }
}

fn of_hash(run: &[(u64, Ordinal)], wanted: u64) -> Vec<Ordinal> {
    let first = run.partition_point(|(hash, _)| *hash < wanted);
    run[first..]
        .iter()
        .take_while(|(hash, _)| *hash == wanted)
        .map(|(_, ordinal)| *ordinal)
        .collect()
}
