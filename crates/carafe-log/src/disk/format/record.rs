//! The record of one entry in a commit:
//!
//! | field | bytes |
//! | --- | --- |
//! | length of all that follows the checksum | 4 |
//! | CRC32C of all that follows, seeded with the segment's salt | 4 |
//! | head of the publication ([`publication_record`](crate::publication_record)) | 6 |
//! | offset, time in milliseconds since 1970 | 8, 8 |
//! | nonce | 4 |
//! | body of the publication | n |
//!
//! Segments of the versions 1 and 2 have no other kinds than events, and not the flag 64. Only
//! segments of a supplied log have the flag 128.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carafe_protocol::{Generation, Position};

use crate::Entry;
use crate::codec::{Put, Take, length, milliseconds};
use crate::publication_record::{Head, put_body, put_head};

/// The size of the length and the checksum.
pub(crate) const HEAD: usize = 8;

/// Appends the record of the entry.
pub(crate) fn encode(entry: &Entry, salt: u32, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    put_head(&entry.publication, out);
    out.put_u64(entry.offset());
    out.put_u64(milliseconds(entry.time.duration_since(UNIX_EPOCH).unwrap_or_default()));
    out.put_u32(entry.position.nonce);
    put_body(&entry.publication, out);
    let body = &out[start + HEAD..];
    let head = [length(body.len()), checksum(salt, body)].map(u32::to_le_bytes).concat();
    out[start..start + HEAD].copy_from_slice(&head);
}

/// The CRC32C of `bytes`, seeded with the salt. Without the random salt, a publisher could send
/// data that passes for a record or commit of the log.
pub(crate) fn checksum(salt: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(salt, bytes)
}

/// The length of the whole record that begins with these bytes.
pub(crate) fn record_length(head: &[u8]) -> Option<usize> {
    Some(HEAD + Take(head).u32()? as usize)
}

/// Decodes a whole record. `None` if it is damaged.
pub(crate) fn decode(record: &[u8], salt: u32, generation: Generation) -> Option<Entry> {
    let mut take = Take(record);
    let (length, sum) = (take.u32()?, take.u32()?);
    // The length first: the checksum of a record that is cut off says nothing.
    if take.0.len() != length as usize || checksum(salt, take.0) != sum {
        return None;
    }
    decode_entry(&mut take, generation)
}

fn decode_entry(take: &mut Take<'_>, generation: Generation) -> Option<Entry> {
    let head = Head::take(take)?;
    let (offset, time, nonce) = (take.u64()?, take.u64()?, take.u32()?);
    let publication = head.take_body(take)?;
    Some(Entry { position: Position { generation, offset, nonce }, time: at(time)?, publication })
}

fn at(milliseconds: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds))
}
