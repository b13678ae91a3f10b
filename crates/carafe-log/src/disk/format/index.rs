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

use crate::disk::format::codec::Take;
use crate::disk::format::header::{Header, take_position};
use crate::disk::format::record::checksum;

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
pub(crate) const VERSION: u32 = 1;

/// The bytes of the head.
pub(crate) const SUMMARY: usize = 8 + 4 + 2 * 20 + 4 + 8 + 5 * 4 + 4;

/// Marks the length of a private entry's record. None is so long.
pub(crate) const PRIVATE: u32 = 1 << 31;

pub(crate) const WORD: usize = 4;
/// Words of a row, of a key or ID, and of a topic.
pub(crate) const ROW: usize = 3;
pub(crate) const KEY: usize = 3;
pub(crate) const TOPIC: usize = 4;

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
