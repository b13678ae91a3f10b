//! The format of the index file of a sealed segment.
//!
//! A head is followed by tables of 32-bit words. In this order: rows (offset from the position
//! before the segment, place, and length, with the highest bit set for private entries and the next
//! one for entries that do not count as events), topics with keys and then IDs (a hash in two
//! words, and an ordinal), topics (place and length of the name, place and number of the ordinals),
//! and ordinals. Then the names follow. Keys and IDs are sorted by hash and topics by name; the
//! names have the order of their topics. Then the control entries follow
//! ([`control`](super::control)). The file ends with its CRC32C.
//!
//! That is version 2. The index of a segment of version 1 or 2 has version 1: all its entries are
//! events, and it has neither control entries nor their size in the head. That of a supplied log
//! has version 3: the row has a fourth word, which has the higher 32 bits of the offset.

use std::hash::Hasher;
use std::ops::Range;
use std::time::SystemTime;

use carafe_protocol::{Offset, Position};
use siphasher::sip::SipHasher13;

use crate::codec::{self, Take};
use crate::disk::format::commit::Row;
use crate::disk::format::header::{Header, take_position};
use crate::disk::format::record::checksum;

/// The number of an entry within its segment, from 0.
pub(crate) type Ordinal = u32;

/// The summary of a segment. It is known without reading the tables of its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) first: Position,
    pub(crate) last: Position,
    pub(crate) entries: Ordinal,
    /// The time of the newest entry, in milliseconds since 1970.
    pub(crate) newest: u64,
}

pub(crate) const MAGIC: &[u8; 8] = b"CARAFEIX";
const EVENTS: u32 = 1;
const KINDS: u32 = 2;
const WIDE: u32 = 3;

/// The version of the index of a segment.
pub(crate) fn version(header: &Header) -> u32 {
    match header {
        Header { supplied: true, .. } => WIDE,
        Header { kinds: true, .. } => KINDS,
        _ => EVENTS,
    }
}

/// The size of the head of version 1 in bytes.
const EVENTS_HEAD: usize = 8 + 4 + 2 * 20 + 4 + 8 + 5 * 4 + 4;

/// The size of the head in bytes: the size of the control entries is its last field.
pub(crate) fn head_size(header: &Header) -> usize {
    EVENTS_HEAD + if header.kinds { WORD } else { 0 }
}

/// Marks a private entry in the length of its record. No record has 1 GiB.
const PRIVATE: u32 = 1 << 31;

/// Marks an entry that does not count as an event: an end, a stop, an erasure, what is left of a
/// removed entry, or a note of the hub to itself.
const UNCOUNTED: u32 = 1 << 30;

/// The length of a record with its marks.
pub(crate) fn marked_length(row: &Row) -> u32 {
    let mark = |mark, is_set| if is_set { mark } else { 0 };
    row.length | mark(PRIVATE, row.private) | mark(UNCOUNTED, !row.counts)
}

/// A row with a length that may have marks.
pub(crate) fn row(offset: Offset, at: u32, marked: u32) -> Row {
    let (private, counts) = (marked & PRIVATE != 0, marked & UNCOUNTED == 0);
    Row { offset, at, length: marked & !(PRIVATE | UNCOUNTED), private, counts }
}

pub(crate) const WORD: usize = 4;
/// The numbers of words of a row, of a wide row, of a key or ID, and of a topic.
pub(crate) const ROW: usize = 3;
pub(crate) const WIDE_ROW: usize = 4;
pub(crate) const KEY: usize = 3;
pub(crate) const TOPIC: usize = 4;

/// The number of words of a row of a segment.
pub(crate) fn row_words(header: &Header) -> usize {
    if header.supplied { WIDE_ROW } else { ROW }
}

/// The head: the summary and the sizes of the tables.
pub(crate) struct Counts {
    /// The size of the head in bytes.
    pub(crate) head: usize,
    /// The number of words of a row.
    pub(crate) row: usize,
    pub(crate) summary: Summary,
    pub(crate) topic_keys: usize,
    pub(crate) ids: usize,
    pub(crate) topics: usize,
    pub(crate) ordinals: usize,
    /// The sizes of the names and of the control entries in bytes.
    pub(crate) names: usize,
    pub(crate) control: usize,
}

impl Counts {
    /// Decodes the first [`head_size`] bytes of a file. `None` if they are damaged.
    pub(crate) fn decode(bytes: &[u8], header: &Header) -> Option<Self> {
        let (head, mut take) = (head_size(header), Take(bytes));
        if take.bytes(8)? != MAGIC || take.u32()? != version(header) {
            return None;
        }
        let (first, last) = (take_position(&mut take)?, take_position(&mut take)?);
        let summary = Summary { first, last, entries: take.u32()?, newest: take.u64()? };
        let mut count = || Some(take.u32()? as usize);
        let counts = Self {
            head,
            row: row_words(header),
            summary,
            topic_keys: count()?,
            ids: count()?,
            topics: count()?,
            ordinals: count()?,
            names: count()?,
            control: if header.kinds { count()? } else { 0 },
        };
        (take.u32()? == checksum(header.salt, &bytes[..head - WORD])).then_some(counts)
    }

    pub(crate) fn rows(&self) -> usize {
        self.summary.entries as usize
    }

    /// The place of the names, which the tables of words precede.
    pub(crate) fn names_at(&self) -> usize {
        self.head + self.words() * WORD
    }

    pub(crate) fn control_at(&self) -> usize {
        self.names_at() + self.names
    }

    /// The place of the checksum, which is the end of the file.
    pub(crate) fn end(&self) -> usize {
        self.control_at() + self.control
    }

    /// The number of words before the names.
    fn words(&self) -> usize {
        self.rows() * self.row
            + (self.topic_keys + self.ids) * KEY
            + self.topics * TOPIC
            + self.ordinals
    }
}

/// Hashes texts. The hash is part of the file format, so it must not change. It is seeded with the
/// salt, so that publishers cannot construct collisions.
pub(crate) fn hash(texts: &[&str], salt: u32) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(u64::from(salt), 0);
    for text in texts {
        hasher.write(text.as_bytes());
        // A separator that cannot occur in UTF-8: ("a", "bc") and ("ab", "c") must differ.
        hasher.write(&[0xff]);
    }
    hasher.finish()
}

/// Texts in the form in which [`hash`] reads them. They can be hashed with the salts of many
/// segments at little cost.
pub(crate) struct HashInput(Box<[u8]>);

impl HashInput {
    pub(crate) fn of(texts: &[&str]) -> Self {
        let parts = texts.iter().flat_map(|text| [text.as_bytes(), &[0xff]]);
        Self(parts.collect::<Vec<_>>().concat().into())
    }

    /// The same as [`hash`] of the texts.
    pub(crate) fn hash(&self, salt: u32) -> u64 {
        SipHasher13::new_with_keys(u64::from(salt), 0).hash(&self.0)
    }
}

/// The parts of a table that are read one after the other, of at most so many rows each.
pub(crate) fn parts(table: Range<usize>, rows: usize) -> impl Iterator<Item = Range<usize>> {
    let end = table.end;
    table.step_by(rows).map(move |from| from..end.min(from + rows))
}

/// A time in whole milliseconds since 1970.
pub(crate) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    codec::milliseconds(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_one_hash_however_it_is_computed() {
        for texts in [&["orders", "order-000000000123"][..], &["a", "bc"], &["ab", "c"], &["", ""]]
        {
            for salt in [0, 7, u32::MAX] {
                assert_eq!(HashInput::of(texts).hash(salt), hash(texts, salt), "{texts:?}");
            }
        }
    }
}
