//! A segment is a file of commits. Each commit is written at once and synced before the next one.
//!
//! The file begins with a header:
//!
//! | field | bytes |
//! | --- | --- |
//! | `CARAFELG` | 8 |
//! | version, see below | 4 |
//! | salt, random: seeds all checksums and hashes of the segment | 4 |
//! | generation of its entries | 8 |
//! | the position before its first entry: generation, offset, nonce | 8, 8, 4 |
//! | CRC32C of the header up to here | 4 |
//!
//! The version is 3, or 4 if a repair recorded that entries before this segment are lost. Segments
//! of a log that is supplied have the versions 5 and 6 for the same: their generation and offsets
//! come from elsewhere, so no other log may go on with them, and offsets may be far apart. Segments
//! of the versions 1 and 2, which older programs wrote, are the same as 3 and 4, except that all
//! their entries are plain events, and that their index has no table of control entries.
//!
//! Commits follow. Each has a head:
//!
//! | field | bytes |
//! | --- | --- |
//! | `CMIT` | 4 |
//! | length of its records | 4 |
//! | number of its records | 4 |
//! | the number of the previous commit; the salt for the first commit | 4 |
//! | the number of this commit, random | 4 |
//! | CRC32C of the head up to here and of the records, seeded with the salt | 4 |
//!
//! Zeros follow, up to the allocated size.
//!
//! A segment takes over the salt of the previous one, unless it begins a generation. So a key has
//! the same hash in all of them. Readers accept any salts.

use carafe_protocol::{Generation, Position};

use crate::codec::{Put, Take};
use crate::disk::format::record::checksum;

pub(crate) const MAGIC: &[u8; 8] = b"CARAFELG";
/// The highest version of the format that this program reads.
pub(crate) const VERSION: u32 = SUPPLIED_AFTER_HOLE;
const EVENTS: u32 = 1;
const EVENTS_AFTER_HOLE: u32 = 2;
const CONTIGUOUS: u32 = 3;
const AFTER_HOLE: u32 = 4;
const SUPPLIED: u32 = 5;
const SUPPLIED_AFTER_HOLE: u32 = 6;
pub(crate) const HEADER: usize = 48;

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) salt: u32,
    pub(crate) generation: Generation,
    /// The position before the first entry of the segment.
    pub(crate) previous: Position,
    /// Whether entries between the previous segment and this one are lost, as recorded by a repair.
    pub(crate) after_hole: bool,
    /// Whether the segment may have entries other than plain events. An older program wrote a
    /// segment that may not, and can still read it.
    pub(crate) kinds: bool,
    /// Whether the log is supplied: its generation and offsets come from elsewhere.
    pub(crate) supplied: bool,
}

/// The bytes are not a valid header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// A version of the format that this program does not know.
    Version(u32),
    Damaged,
}

impl Header {
    pub(crate) fn name(&self) -> String {
        // Twenty digits hold any offset, so the names sort by number.
        format!("{:020}.segment", self.previous.offset + 1)
    }

    /// The header of a new segment.
    pub(crate) fn new(salt: u32, generation: Generation, previous: Position) -> Self {
        Self { salt, generation, previous, after_hole: false, kinds: true, supplied: false }
    }

    fn version(&self) -> u32 {
        match (self.supplied, self.kinds, self.after_hole) {
            (false, false, false) => EVENTS,
            (false, false, true) => EVENTS_AFTER_HOLE,
            (false, true, false) => CONTIGUOUS,
            (false, true, true) => AFTER_HOLE,
            (true, _, false) => SUPPLIED,
            (true, _, true) => SUPPLIED_AFTER_HOLE,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(MAGIC);
        out.put_u32(self.version());
        out.put_u32(self.salt);
        out.put_u64(self.generation.get());
        put_position(&mut out, self.previous);
        let sum = checksum(0, &out);
        out.put_u32(sum);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let damaged = BadHeader::Damaged;
        let mut take = Take(bytes);
        if take.bytes(MAGIC.len()) != Some(MAGIC) {
            return Err(damaged);
        }
        let (supplied, kinds, after_hole) = match take.u32().ok_or(damaged)? {
            EVENTS => (false, false, false),
            EVENTS_AFTER_HOLE => (false, false, true),
            CONTIGUOUS => (false, true, false),
            AFTER_HOLE => (false, true, true),
            SUPPLIED => (true, true, false),
            SUPPLIED_AFTER_HOLE => (true, true, true),
            // A crash may have left only the first part of the header.
            0 => return Err(damaged),
            other => return Err(BadHeader::Version(other)),
        };
        let header = take_header(&mut take).ok_or(damaged)?;
        let header = Self { supplied, kinds, after_hole, ..header };
        // In bounds: `take_header` has taken all fields before the checksum. Seeded with 0, because
        // the salt is part of what is checked.
        let sum = checksum(0, &bytes[..HEADER - 4]);
        if take.u32() == Some(sum) { Ok(header) } else { Err(damaged) }
    }
}

fn take_header(take: &mut Take<'_>) -> Option<Header> {
    let (salt, generation) = (take.u32()?, Generation::new(take.u64()?));
    Some(Header::new(salt, generation, take_position(take)?))
}

pub(crate) fn put_position(out: &mut Vec<u8>, position: Position) {
    out.put_u64(position.generation.get());
    out.put_u64(position.offset);
    out.put_u32(position.nonce);
}

pub(crate) fn take_position(take: &mut Take<'_>) -> Option<Position> {
    let generation = Generation::new(take.u64()?);
    Some(Position { generation, offset: take.u64()?, nonce: take.u32()? })
}
