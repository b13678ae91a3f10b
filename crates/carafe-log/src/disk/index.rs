//! Which entries of a segment are of which topic and key, and where they stand.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::hash::Hasher;
use std::ops::Range;
use std::time::SystemTime;

use carafe_protocol::{Offset, Position, Topic, TopicMatcher};
use siphasher::sip::SipHasher13;

use super::codec::{Put, Take, length};
use super::record::checksum;
use super::segment::{Header, Row, put_position, take_position};
use crate::{Entry, IdempotencyKey};

/// The number of an entry within its segment, from 0 on.
pub(crate) type Ordinal = u32;

/// What can be asked of a segment's index.
pub(crate) trait Index {
    fn entries(&self) -> Ordinal;

    fn row(&self, ordinal: Ordinal) -> Row;

    /// The entries of a topic, in order.
    fn of_topic(&self, topic: &Topic) -> &[Ordinal];

    /// Hands over the entries of each topic whose name is accepted.
    fn of_topics<'a>(&'a self, accept: &dyn Fn(&str) -> bool, found: &mut Vec<&'a [Ordinal]>);

    /// Entries of this topic that may have this key: some may not.
    fn of_topic_and_key(&self, topic: &Topic, key: &IdempotencyKey) -> Vec<Ordinal>;

    /// Entries of any topic that may have this ID, in order: some may not.
    fn of_id(&self, id: &IdempotencyKey) -> Vec<Ordinal>;
}

/// The first entry after an offset.
pub(crate) fn first_after(index: &dyn Index, offset: Offset) -> Ordinal {
    let (mut low, mut high) = (0, index.entries());
    while low < high {
        let middle = low + (high - low) / 2;
        if index.row(middle).offset <= offset { low = middle + 1 } else { high = middle }
    }
    low
}

/// Up to `count` entries from `first` on that are wanted, in order, each once.
pub(crate) fn select(
    index: &dyn Index,
    first: Ordinal,
    wanted: &[TopicMatcher],
    count: usize,
) -> Vec<Ordinal> {
    if wanted.contains(&TopicMatcher::any()) {
        return (first..index.entries()).take(count).collect();
    }
    let from_first = |of_topic: &'_ [Ordinal]| of_topic.partition_point(|ordinal| *ordinal < first);
    let lists: Vec<_> = lists(index, wanted).into_iter().map(|list| &list[from_first(list)..]).collect();
    let mut heads: BinaryHeap<_> =
        lists.iter().enumerate().filter_map(|(at, list)| Some(Reverse((*list.first()?, at, 0)))).collect();
    let mut selected: Vec<Ordinal> = Vec::new();
    while selected.len() < count
        && let Some(Reverse((ordinal, at, taken))) = heads.pop()
    {
        if selected.last() != Some(&ordinal) {
            selected.push(ordinal);
        }
        heads.extend(lists[at].get(taken + 1).map(|next| Reverse((*next, at, taken + 1))));
    }
    selected
}

/// All entries that are wanted, in order, each once.
pub(crate) fn select_all(index: &dyn Index, wanted: &[TopicMatcher]) -> Vec<Ordinal> {
    if wanted.contains(&TopicMatcher::any()) {
        return (0..index.entries()).collect();
    }
    let mut all = lists(index, wanted).concat();
    all.sort_unstable();
    all.dedup();
    all
}

fn lists<'a>(index: &'a dyn Index, wanted: &[TopicMatcher]) -> Vec<&'a [Ordinal]> {
    let mut found = Vec::new();
    for matcher in wanted {
        match matcher {
            TopicMatcher::Exact(topic) => found.push(index.of_topic(topic)),
            TopicMatcher::Pattern(pattern) => index.of_topics(&|name| pattern.matches(name), &mut found),
        }
    }
    found
}

/// The index of the segment that is being written.
#[derive(Clone, Default)]
pub(crate) struct ActiveIndex {
    rows: Vec<Row>,
    topics: HashMap<Topic, Vec<Ordinal>>,
    topic_keys: HashMap<(Topic, IdempotencyKey), Ordinal>,
    /// The first entry of each ID.
    ids: HashMap<IdempotencyKey, Ordinal>,
    /// Of the few IDs that several entries have, the others.
    further: HashMap<IdempotencyKey, Vec<Ordinal>>,
}

impl ActiveIndex {
    pub(crate) fn push(&mut self, entry: &Entry, row: Row) {
        let ordinal = self.entries();
        self.rows.push(row);
        for topic in entry.publication.topics() {
            let of_topic = self.topics.entry(topic.clone()).or_default();
            // An event may name a topic twice.
            if of_topic.last() != Some(&ordinal) {
                of_topic.push(ordinal);
            }
        }
        if let Some(key) = entry.publication.key() {
            self.topic_keys.entry((entry.publication.topic().clone(), key.clone())).or_insert(ordinal);
        }
        if let Some(id) = entry.publication.id()
            && *self.ids.entry(id.clone()).or_insert(ordinal) != ordinal
        {
            self.further.entry(id.clone()).or_default().push(ordinal);
        }
    }

    /// Each ID with each of its entries.
    fn all_ids(&self) -> impl Iterator<Item = (&IdempotencyKey, Ordinal)> {
        let further = self.further.iter().flat_map(|(id, all)| all.iter().map(move |ordinal| (id, *ordinal)));
        self.ids.iter().map(|(id, ordinal)| (id, *ordinal)).chain(further)
    }
}

impl Index for ActiveIndex {
    fn entries(&self) -> Ordinal {
        length(self.rows.len())
    }

    fn row(&self, ordinal: Ordinal) -> Row {
        self.rows[ordinal as usize]
    }

    fn of_topic(&self, topic: &Topic) -> &[Ordinal] {
        self.topics.get(topic).map_or(&[], Vec::as_slice)
    }

    fn of_topics<'a>(&'a self, accept: &dyn Fn(&str) -> bool, found: &mut Vec<&'a [Ordinal]>) {
        found.extend(
            self.topics.iter().filter(|(topic, _)| accept(topic.as_str())).map(|(_, list)| &list[..]),
        );
    }

    fn of_topic_and_key(&self, topic: &Topic, key: &IdempotencyKey) -> Vec<Ordinal> {
        self.topic_keys.get(&(topic.clone(), key.clone())).copied().into_iter().collect()
    }

    fn of_id(&self, id: &IdempotencyKey) -> Vec<Ordinal> {
        let further = self.further.get(id).into_iter().flatten();
        self.ids.get(id).into_iter().chain(further).copied().collect()
    }
}

/// What is known of a sealed segment without its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) first: Position,
    pub(crate) last: Position,
    pub(crate) entries: Ordinal,
    /// Milliseconds since 1970.
    pub(crate) newest: u64,
}

/// The index of a segment that is not written any more, as it is in its file.
///
/// After the summary, everything is numbers of four bytes: rows (offset from the segment's previous one, place, length
/// with the highest bit set for private ones), topics with keys, and IDs (each a hash in two halves, and an ordinal),
/// topics (place and length of the name, place and number of the ordinals), ordinals; then the names. The file ends with its CRC32C.
pub(crate) struct SealedIndex {
    base: Offset,
    salt: u32,
    words: Vec<u32>,
    names: Vec<u8>,
    rows: usize,
    topic_keys: usize,
    ids: usize,
    topics: usize,
}

pub(crate) const MAGIC: &[u8; 8] = b"CARAFEIX";
const VERSION: u32 = 1;
pub(crate) const SUMMARY: usize = 8 + 4 + 2 * 20 + 4 + 8 + 5 * 4 + 4;

/// Marks the length of a private entry's record. None is so long.
const PRIVATE: u32 = 1 << 31;

const ROW: usize = 3;
const KEY: usize = 3;
const TOPIC: usize = 4;

impl SealedIndex {
    /// The file's content for a segment.
    pub(crate) fn encode(index: &ActiveIndex, header: &Header, summary: Summary) -> Vec<u8> {
        let sections = Sections::of(index, header);
        let mut out = MAGIC.to_vec();
        out.put_u32(VERSION);
        put_position(&mut out, summary.first);
        put_position(&mut out, summary.last);
        out.put_u32(summary.entries);
        out.put_u64(summary.newest);
        out.put_u32(length(index.topic_keys.len()));
        out.put_u32(length(sections.ids.len() / KEY));
        out.put_u32(length(index.topics.len()));
        out.put_u32(length(sections.ordinals.len()));
        out.put_u32(length(sections.names.len()));
        let sum = checksum(header.salt, &out);
        out.put_u32(sum);
        for word in sections.words() {
            out.put_u32(*word);
        }
        out.extend_from_slice(&sections.names);
        let sum = checksum(header.salt, &out);
        out.put_u32(sum);
        out
    }

    /// Reads the first [`SUMMARY`] bytes of a file.
    pub(crate) fn summary(bytes: &[u8], header: &Header) -> Option<Summary> {
        Some(Counts::decode(bytes, header)?.summary)
    }

    /// Reads a whole file; `None` if it is damaged.
    pub(crate) fn decode(bytes: &[u8], header: &Header) -> Option<Self> {
        let counts = Counts::decode(bytes, header)?;
        let (content, sum) =
            bytes.split_last_chunk::<4>().map(|(content, sum)| (content, u32::from_le_bytes(*sum)))?;
        if checksum(header.salt, content) != sum {
            return None;
        }
        let mut take = Take(content.get(SUMMARY..)?);
        let rows = counts.summary.entries as usize;
        let words =
            rows * ROW + (counts.topic_keys + counts.ids) * KEY + counts.topics * TOPIC + counts.ordinals;
        let words =
            take.bytes(words * 4)?.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word)).collect();
        let names = take.bytes(counts.names)?.to_vec();
        let Counts { topic_keys, ids, topics, .. } = counts;
        Some(Self {
            base: header.previous.offset,
            salt: header.salt,
            words,
            names,
            rows,
            topic_keys,
            ids,
            topics,
        })
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn weight(&self) -> usize {
        self.words.len() * 4 + self.names.len()
    }

    /// The ordinals under a hash in one of the two tables.
    fn keyed(&self, table: Range<usize>, hash: u64) -> Vec<Ordinal> {
        let key = |at: usize| &self.words[self.rows * ROW + at * KEY..][..KEY];
        let wanted = halves(hash);
        let (mut low, mut high) = (table.start, table.end);
        while low < high {
            let middle = low + (high - low) / 2;
            if key(middle)[..2] < wanted[..] { low = middle + 1 } else { high = middle }
        }
        (low..table.end).map(key).take_while(|key| key[..2] == wanted).map(|key| key[2]).collect()
    }

    fn topic(&self, at: usize) -> (&[u8], &[Ordinal]) {
        let topics = self.rows * ROW + (self.topic_keys + self.ids) * KEY;
        let [name, length, first, count] = self.words[topics + at * TOPIC..][..TOPIC] else {
            unreachable!("the slice has as many words");
        };
        let ordinals = &self.words[topics + self.topics * TOPIC..];
        (&self.names[name as usize..][..length as usize], &ordinals[first as usize..][..count as usize])
    }
}

impl Index for SealedIndex {
    fn entries(&self) -> Ordinal {
        length(self.rows)
    }

    fn row(&self, ordinal: Ordinal) -> Row {
        let row = &self.words[ordinal as usize * ROW..][..ROW];
        Row {
            offset: self.base + u64::from(row[0]),
            at: row[1],
            length: row[2] & !PRIVATE,
            private: row[2] & PRIVATE != 0,
        }
    }

    fn of_topic(&self, topic: &Topic) -> &[Ordinal] {
        let wanted = topic.as_str().as_bytes();
        let (mut low, mut high) = (0, self.topics);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.topic(middle).0 < wanted { low = middle + 1 } else { high = middle }
        }
        if low < self.topics && self.topic(low).0 == wanted { self.topic(low).1 } else { &[] }
    }

    fn of_topics<'a>(&'a self, accept: &dyn Fn(&str) -> bool, found: &mut Vec<&'a [Ordinal]>) {
        let topics = (0..self.topics).map(|at| self.topic(at));
        found.extend(
            topics.filter(|(name, _)| std::str::from_utf8(name).is_ok_and(accept)).map(|(_, list)| list),
        );
    }

    fn of_topic_and_key(&self, topic: &Topic, key: &IdempotencyKey) -> Vec<Ordinal> {
        self.keyed(0..self.topic_keys, hash(&[topic.as_str(), key.as_str()], self.salt))
    }

    fn of_id(&self, id: &IdempotencyKey) -> Vec<Ordinal> {
        let table = self.topic_keys..self.topic_keys + self.ids;
        self.keyed(table, hash(&[id.as_str()], self.salt))
    }
}

struct Counts {
    summary: Summary,
    topic_keys: usize,
    ids: usize,
    topics: usize,
    ordinals: usize,
    names: usize,
}

impl Counts {
    fn decode(bytes: &[u8], header: &Header) -> Option<Self> {
        let mut take = Take(bytes);
        if take.bytes(8)? != MAGIC || take.u32()? != VERSION {
            return None;
        }
        let (first, last) = (take_position(&mut take)?, take_position(&mut take)?);
        let summary = Summary { first, last, entries: take.u32()?, newest: take.u64()? };
        let mut count = || Some(take.u32()? as usize);
        let counts = Self {
            summary,
            topic_keys: count()?,
            ids: count()?,
            topics: count()?,
            ordinals: count()?,
            names: count()?,
        };
        (take.u32()? == checksum(header.salt, &bytes[..SUMMARY - 4])).then_some(counts)
    }
}

/// The parts of the file, in order.
#[derive(Default)]
struct Sections {
    rows: Vec<u32>,
    topic_keys: Vec<u32>,
    ids: Vec<u32>,
    topics: Vec<u32>,
    ordinals: Vec<u32>,
    names: Vec<u8>,
}

impl Sections {
    fn of(index: &ActiveIndex, header: &Header) -> Self {
        let mut sections = Self::default();
        for row in &index.rows {
            let offset = u32::try_from(row.offset - header.previous.offset);
            sections.rows.extend([
                offset.expect("a segment is ended before its offsets span 2^32"),
                row.at,
                row.length | if row.private { PRIVATE } else { 0 },
            ]);
        }
        let topic_key = |((topic, key), ordinal): (&(Topic, IdempotencyKey), &Ordinal)| {
            (hash(&[topic.as_str(), key.as_str()], header.salt), *ordinal)
        };
        sections.topic_keys = sorted_by_hash(index.topic_keys.iter().map(topic_key));
        let id_hash = |id: &IdempotencyKey| hash(&[id.as_str()], header.salt);
        sections.ids = sorted_by_hash(index.all_ids().map(|(id, ordinal)| (id_hash(id), ordinal)));
        let sorted: BTreeMap<_, _> =
            index.topics.iter().map(|(topic, list)| (topic.as_str(), list)).collect();
        for (name, list) in sorted {
            let places = [sections.names.len(), name.len(), sections.ordinals.len(), list.len()];
            sections.topics.extend(places.map(length));
            sections.names.extend_from_slice(name.as_bytes());
            sections.ordinals.extend_from_slice(list);
        }
        sections
    }

    fn words(&self) -> impl Iterator<Item = &u32> {
        self.rows.iter().chain(&self.topic_keys).chain(&self.ids).chain(&self.topics).chain(&self.ordinals)
    }
}

fn sorted_by_hash(keys: impl Iterator<Item = (u64, Ordinal)>) -> Vec<u32> {
    let mut keys: Vec<_> = keys.map(|(hash, ordinal)| (halves(hash), ordinal)).collect();
    keys.sort_unstable();
    keys.into_iter().flat_map(|([high, low], ordinal)| [high, low, ordinal]).collect()
}

/// The same in every version of the program and on every machine; what the salt adds, publishers cannot guess.
fn hash(texts: &[&str], salt: u32) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(u64::from(salt), 0);
    for text in texts {
        hasher.write(text.as_bytes());
        // No text has this byte.
        hasher.write(&[0xff]);
    }
    hasher.finish()
}

fn halves(hash: u64) -> [u32; 2] {
    [(hash >> 32) as u32, hash as u32]
}

pub(crate) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
