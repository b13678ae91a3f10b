//! A segment is a file of commits. Each commit is written at once and synced before the next one.
//!
//! The file begins with a header:
//!
//! | field | bytes |
//! | --- | --- |
//! | `CARAFELG` | 8 |
//! | version: 1, or 2 if a repair recorded that entries before this segment are lost | 4 |
//! | salt, random: seeds all checksums and hashes of the segment | 4 |
//! | generation of its entries | 8 |
//! | the position before its first entry: generation, offset, nonce | 8, 8, 4 |
//! | CRC32C of the header up to here | 4 |
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

use crate::disk::format::codec::{Put, Take};
use crate::disk::format::record::checksum;

pub(crate) const MAGIC: &[u8; 8] = b"CARAFELG";
/// The highest version of the format that this program reads.
pub(crate) const VERSION: u32 = AFTER_HOLE;
const CONTIGUOUS: u32 = 1;
const AFTER_HOLE: u32 = 2;
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

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(MAGIC);
        out.put_u32(if self.after_hole { AFTER_HOLE } else { CONTIGUOUS });
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
        let after_hole = match take.u32().ok_or(damaged)? {
            CONTIGUOUS => false,
            AFTER_HOLE => true,
            // A crash may have left only the first part of the header.
            0 => return Err(damaged),
            other => return Err(BadHeader::Version(other)),
        };
        let header = take_header(&mut take, after_hole).ok_or(damaged)?;
        // In bounds: `take_header` has taken all fields before the checksum. Seeded with 0, because
        // the salt is part of what is checked.
        let sum = checksum(0, &bytes[..HEADER - 4]);
        if take.u32() == Some(sum) { Ok(header) } else { Err(damaged) }
    }
}

fn take_header(take: &mut Take<'_>, after_hole: bool) -> Option<Header> {
    Some(Header {
        salt: take.u32()?,
        generation: Generation::new(take.u64()?),
        previous: take_position(take)?,
        after_hole,
    })
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
