//! The index of a segment that is not written any more, as it is in its file.
//!
//! After a head, everything is numbers of four bytes: rows (offset from the segment's previous one,
//! place, length with the highest bit set for private ones), topics with keys, and IDs (each a hash
//! in two halves, and an ordinal), topics (place and length of the name, place and number of the
//! ordinals), ordinals; then the names. Hashes and names are sorted, and names stand in the order
//! of their topics. The file ends with its CRC32C.

use std::hash::Hasher;
use std::time::SystemTime;

use carafe_protocol::Position;
use siphasher::sip::SipHasher13;

use super::active::{ActiveIndex, PRIVATE};
use super::codec::{Put, Take, length};
use super::postings::Postings;
use super::record::checksum;
use super::segment::{Header, put_position, take_position};

/// The number of an entry within its segment, from 0 on.
pub(crate) type Ordinal = u32;

/// What is known of a sealed segment without its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) first: Position,
    pub(crate) last: Position,
    pub(crate) entries: Ordinal,
    /// Milliseconds since 1970.
    pub(crate) newest: u64,
}

pub(crate) const MAGIC: &[u8; 8] = b"CARAFEIX";
const VERSION: u32 = 1;

/// The bytes of the head.
pub(crate) const SUMMARY: usize = 8 + 4 + 2 * 20 + 4 + 8 + 5 * 4 + 4;

pub(super) const WORD: usize = 4;
/// Words of a row, of a key or ID, and of a topic.
pub(super) const ROW: usize = 3;
pub(super) const KEY: usize = 3;
pub(super) const TOPIC: usize = 4;

/// The file's content for a segment.
pub(crate) fn encode(index: &ActiveIndex, header: &Header, summary: Summary) -> Vec<u8> {
    let sections = Sections::of(index, summary.entries);
    let mut out = MAGIC.to_vec();
    out.put_u32(VERSION);
    put_position(&mut out, summary.first);
    put_position(&mut out, summary.last);
    out.put_u32(summary.entries);
    out.put_u64(summary.newest);
    out.put_u32(length(sections.topic_keys.len() / KEY));
    out.put_u32(length(sections.ids.len() / KEY));
    out.put_u32(length(sections.topics.len() / TOPIC));
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

/// What the head says.
pub(crate) struct Counts {
    pub(crate) summary: Summary,
    pub(crate) topic_keys: usize,
    pub(crate) ids: usize,
    pub(crate) topics: usize,
    pub(crate) ordinals: usize,
    pub(crate) names: usize,
}

impl Counts {
    /// Reads a file's first [`SUMMARY`] bytes; `None` if they are not what was written.
    pub(crate) fn decode(bytes: &[u8], header: &Header) -> Option<Self> {
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
        (take.u32()? == checksum(header.salt, &bytes[..SUMMARY - WORD])).then_some(counts)
    }

    pub(crate) fn rows(&self) -> usize {
        self.summary.entries as usize
    }

    /// The words before the names.
    pub(crate) fn words(&self) -> usize {
        self.rows() * ROW + (self.topic_keys + self.ids) * KEY + self.topics * TOPIC + self.ordinals
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
    fn of(index: &ActiveIndex, entries: Ordinal) -> Self {
        let mut sections = Self::default();
        sections.rows.reserve_exact(entries as usize * ROW);
        for ordinal in 0..entries {
            let (row, offset) = (index.row(ordinal), index.offset_within(ordinal));
            sections.rows.extend([
                offset,
                row.at,
                row.length | if row.private { PRIVATE } else { 0 },
            ]);
        }
        sections.topic_keys = sorted_by_hash(&index.topic_keys, entries);
        sections.ids = sorted_by_hash(&index.ids, entries);
        let mut sorted: Vec<_> = (0..index.topics.lists())
            .filter_map(|id| Some((index.name(id)?.as_str(), id)))
            .collect();
        sorted.sort_unstable();
        for (name, id) in sorted {
            let list = index.topics.list(id, entries);
            let places =
                [sections.names.len(), name.len(), sections.ordinals.len(), list.len() as usize];
            sections.topics.extend(places.map(length));
            sections.names.extend_from_slice(name.as_bytes());
            sections.ordinals.extend(list);
        }
        sections
    }

    fn words(&self) -> impl Iterator<Item = &u32> {
        self.rows
            .iter()
            .chain(&self.topic_keys)
            .chain(&self.ids)
            .chain(&self.topics)
            .chain(&self.ordinals)
    }
}

fn sorted_by_hash(keys: &Postings, entries: Ordinal) -> Vec<u32> {
    let mut keys: Vec<_> = keys.all(entries).collect();
    keys.sort_unstable();
    keys.into_iter()
        .flat_map(|(hash, ordinal)| [(hash >> 32) as u32, hash as u32, ordinal])
        .collect()
}

/// The same in every version of the program and on every machine; what the salt adds, publishers
/// cannot guess.
pub(crate) fn hash(texts: &[&str], salt: u32) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(u64::from(salt), 0);
    for text in texts {
        hasher.write(text.as_bytes());
        // No text has this byte.
        hasher.write(&[0xff]);
    }
    hasher.finish()
}

pub(crate) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
