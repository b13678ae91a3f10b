//! The record of one entry in a commit:
//!
//! | field | bytes |
//! | --- | --- |
//! | length of all that follows the checksum | 4 |
//! | CRC32C of all that follows, seeded with the segment's salt | 4 |
//! | kind: 1 an event, 2 an end, 3 a stop, 4 an erasure, 5 a removed entry | 1 |
//! | flags, see below | 1 |
//! | number of topics | 4 |
//! | offset, time in milliseconds since 1970 | 8, 8 |
//! | nonce | 4 |
//! | detail of an end, an erasure or a removed entry, see below | 1 |
//! | retry time in milliseconds, if flagged | 8 |
//! | topics, type if flagged, external ID if flagged, data: each after its length | 4 + n |
//!
//! Flags: 1 the entry is private, 2 it has a type, 4 a retry time, 8 an external ID, 16 that ID
//! is no idempotency key, 32 the hub itself published the entry, 64 the event reopens its topics.
//!
//! Details: an end is 1 done, 2 failed or 3 cancelled; an erasure 1 all before it, or 2 the event
//! whose offset is its data, in decimal; a removed entry 1 erased or 2 compacted. Only segments of
//! version 3 and 4 have other kinds than events, and the flag 64.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carafe_protocol::{EventType, Generation, Position, Topic};

use crate::disk::format::codec::{Put, Take, length};
use crate::{Entry, Erase, ExternalId, IdempotencyKey, Kind, Outcome, Publication, Removed};

/// The size of the length and the checksum.
pub(crate) const HEAD: usize = 8;

const EVENT: u8 = 1;
const END: u8 = 2;
const STOP: u8 = 3;
const ERASE: u8 = 4;
const REMOVED: u8 = 5;

const PRIVATE: u8 = 1;
const TYPE: u8 = 2;
const RETRY: u8 = 4;
const ID: u8 = 8;
const REPEATABLE: u8 = 16;
// Older versions of the program ignore this flag and treat the entry as any other event.
const OF_HUB: u8 = 32;
const REOPENS: u8 = 64;

/// Appends the record of the entry.
pub(crate) fn encode(entry: &Entry, salt: u32, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    encode_body(entry, out);
    let body = &out[start + HEAD..];
    let head = [length(body.len()), checksum(salt, body)].map(u32::to_le_bytes).concat();
    out[start..start + HEAD].copy_from_slice(&head);
}

fn encode_body(entry: &Entry, out: &mut Vec<u8>) {
    let publication = &entry.publication;
    let event = publication.event();
    let flag = |bit, set: bool| if set { bit } else { 0 };
    let (kind, detail) = kind_bytes(publication.kind());
    out.put_u8(kind);
    out.put_u8(
        flag(PRIVATE, publication.is_private())
            | flag(TYPE, event.event_type().is_some())
            | flag(RETRY, event.retry_time().is_some())
            | flag(ID, publication.external_id().is_some())
            | flag(REPEATABLE, publication.external_id().is_some() && publication.key().is_none())
            | flag(OF_HUB, publication.is_of_hub())
            | flag(REOPENS, publication.reopens()),
    );
    out.put_u32(length(publication.topics().count()));
    out.put_u64(entry.offset());
    out.put_u64(milliseconds(entry.time.duration_since(UNIX_EPOCH).unwrap_or_default()));
    out.put_u32(entry.position.nonce);
    detail.iter().for_each(|detail| out.put_u8(*detail));
    if let Some(retry) = event.retry_time() {
        out.put_u64(milliseconds(retry));
    }
    publication.topics().for_each(|topic| out.put_text(topic.as_str()));
    event.event_type().iter().for_each(|event_type| out.put_text(event_type.as_str()));
    publication.external_id().iter().for_each(|id| out.put_text(id.as_str()));
    out.put_text(event.data().unwrap_or_default());
}

/// The kind, and its detail if it has one.
fn kind_bytes(kind: Kind) -> (u8, Option<u8>) {
    match kind {
        Kind::Event => (EVENT, None),
        Kind::End(Outcome::Done) => (END, Some(1)),
        Kind::End(Outcome::Failed) => (END, Some(2)),
        Kind::End(Outcome::Cancelled) => (END, Some(3)),
        Kind::Stop => (STOP, None),
        Kind::Erase(Erase::Before) => (ERASE, Some(1)),
        Kind::Erase(Erase::One(_)) => (ERASE, Some(2)),
        Kind::Removed(Removed::Erased) => (REMOVED, Some(1)),
        Kind::Removed(Removed::Compacted) => (REMOVED, Some(2)),
    }
}

/// The kind of a record with these bytes. The data, which has the offset of an erasure, comes
/// last, so the kind is made then.
fn kind_of(kind: u8, detail: u8, data: &str) -> Option<Kind> {
    Some(match (kind, detail) {
        (EVENT, 0) => Kind::Event,
        (END, 1) => Kind::End(Outcome::Done),
        (END, 2) => Kind::End(Outcome::Failed),
        (END, 3) => Kind::End(Outcome::Cancelled),
        (STOP, 0) => Kind::Stop,
        (ERASE, 1) => Kind::Erase(Erase::Before),
        (ERASE, 2) => Kind::Erase(Erase::One(data.parse().ok()?)),
        (REMOVED, 1) => Kind::Removed(Removed::Erased),
        (REMOVED, 2) => Kind::Removed(Removed::Compacted),
        _ => return None,
    })
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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
    decode_body(&mut take, generation)
}

fn decode_body(take: &mut Take<'_>, generation: Generation) -> Option<Entry> {
    let kind = take.u8()?;
    let flags = take.u8()?;
    let topics = take.u32()?;
    let (offset, time, nonce) = (take.u64()?, take.u64()?, take.u32()?);
    let detail = if matches!(kind, END | ERASE | REMOVED) { take.u8()? } else { 0 };
    let retry = if flags & RETRY != 0 { Some(Duration::from_millis(take.u64()?)) } else { None };
    let mut topics = (0..topics)
        // The number of topics is bounded by the bytes: `text` fails at the end of the record,
        // before anything is allocated for topics that are not there.
        .map(|_| Topic::stored(take.text()?).ok())
        .collect::<Option<Vec<_>>>()?
        .into_iter();
    let topic = topics.next()?;
    let event_type =
        if flags & TYPE != 0 { Some(EventType::new(take.text()?).ok()?) } else { None };
    let id = if flags & ID != 0 { Some(take.text()?) } else { None };
    let data = take.text()?;
    // A kind that this version does not know is damage here: a newer format has another version in
    // the header of the segment, which is checked before.
    let mut publication = Publication::new(topic, data)
        .with_kind(kind_of(kind, detail, data)?)
        .with_reopening(flags & REOPENS != 0)
        .with_alternates(topics)
        .with_private(flags & PRIVATE != 0);
    publication = publication.with_hub(flags & OF_HUB != 0);
    publication = event_type.into_iter().fold(publication, Publication::with_type);
    publication = retry.into_iter().fold(publication, Publication::with_retry);
    if let Some(id) = id {
        publication = match flags & REPEATABLE {
            0 => publication.with_key(IdempotencyKey::new(id).ok()?),
            _ => publication.with_external_id(ExternalId::new(id).ok()?),
        };
    }
    Some(Entry { position: Position { generation, offset, nonce }, time: at(time)?, publication })
}

fn at(milliseconds: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds))
}
