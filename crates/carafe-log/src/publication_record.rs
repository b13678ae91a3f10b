//! A publication in bytes: as part of a record on disk, and in a commit.
//!
//! The head comes first. A record has the fields that only entries have between the two parts.
//!
//! | field of the head | bytes |
//! | --- | --- |
//! | kind: 1 an event, 2 an end, 3 a stop, 4 an erasure, 5 a removed entry | 1 |
//! | flags, see below | 1 |
//! | number of topics | 4 |
//!
//! | field of the body | bytes |
//! | --- | --- |
//! | detail of an end, an erasure or a removed entry, see below | 1 |
//! | retry time in milliseconds, if flagged | 8 |
//! | topics, type if flagged, external ID if flagged, data: each after its length | 4 + n |
//!
//! Flags: 1 the entry is private, 2 it has a type, 4 a retry time, 8 an external ID, 16 that ID
//! is no idempotency key, 32 the hub itself published the entry, 64 the event reopens its topics,
//! 128 it comes after an end of one of them that does not count any more (never in a commit).
//!
//! Details: an end is 1 done, 2 failed or 3 cancelled; an erasure 1 all before it, or 2 the event
//! whose offset is its data, in decimal, and whose nonce is its type, in 8 hexadecimal digits, if
//! it has one; a removed entry 1 erased or 2 compacted.

use std::time::Duration;

use carafe_protocol::{EventType, Topic};

use crate::codec::{Put, Take, length, milliseconds};
use crate::{Erase, ExternalId, IdempotencyKey, Kind, Outcome, Publication, Removed};

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
const RENEWS: u8 = 128;

/// The head of a publication: what says how its body is read.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    kind: u8,
    flags: u8,
    topics: u32,
}

impl Head {
    fn of(publication: &Publication) -> Self {
        let flag = |bit, set: bool| if set { bit } else { 0 };
        let (event, id) = (publication.event(), publication.external_id());
        let flags = flag(PRIVATE, publication.is_private())
            | flag(TYPE, event.event_type().is_some())
            | flag(RETRY, event.retry_time().is_some())
            | flag(ID, id.is_some())
            | flag(REPEATABLE, id.is_some() && publication.key().is_none())
            | flag(OF_HUB, publication.is_of_hub())
            | flag(REOPENS, publication.reopens())
            | flag(RENEWS, publication.renews());
        let (kind, _) = kind_bytes(publication.kind());
        Self { kind, flags, topics: length(publication.topics().count()) }
    }

    pub(crate) fn take(take: &mut Take<'_>) -> Option<Self> {
        Some(Self { kind: take.u8()?, flags: take.u8()?, topics: take.u32()? })
    }

    fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Takes the body, and makes the publication. `None` if it is damaged.
    pub(crate) fn take_body(self, take: &mut Take<'_>) -> Option<Publication> {
        let detail = if matches!(self.kind, END | ERASE | REMOVED) { take.u8()? } else { 0 };
        let retry = if self.has(RETRY) { Some(Duration::from_millis(take.u64()?)) } else { None };
        // The number of topics is bounded by the bytes: `text` fails at their end, before anything
        // is allocated for topics that are not there.
        let mut topics = (0..self.topics).map(|_| Topic::stored(take.text()?).ok());
        let topic = topics.next()??;
        let alternates = topics.collect::<Option<Vec<_>>>()?;
        let event_type =
            if self.has(TYPE) { Some(EventType::new(take.text()?).ok()?) } else { None };
        let id = if self.has(ID) { Some(take.text()?) } else { None };
        let data = take.text()?;
        // A kind that this version does not know is damage here: a newer format has another
        // version, which is checked before.
        let mut publication = Publication::new(topic, data)
            .with_kind(kind_of(self.kind, detail, data)?)
            .with_reopening(self.has(REOPENS))
            .with_renewal(self.has(RENEWS))
            .with_alternates(alternates)
            .with_private(self.has(PRIVATE))
            .with_hub(self.has(OF_HUB));
        publication = event_type.into_iter().fold(publication, Publication::with_type);
        publication = retry.into_iter().fold(publication, Publication::with_retry);
        match id {
            Some(id) => self.with_id(publication, id),
            None => Some(publication),
        }
    }

    fn with_id(self, publication: Publication, id: &str) -> Option<Publication> {
        Some(if self.has(REPEATABLE) {
            publication.with_external_id(ExternalId::new(id).ok()?)
        } else {
            publication.with_key(IdempotencyKey::new(id).ok()?)
        })
    }
}

/// Appends the head.
pub(crate) fn put_head(publication: &Publication, out: &mut Vec<u8>) {
    let Head { kind, flags, topics } = Head::of(publication);
    out.put_u8(kind);
    out.put_u8(flags);
    out.put_u32(topics);
}

/// Appends the body.
pub(crate) fn put_body(publication: &Publication, out: &mut Vec<u8>) {
    let event = publication.event();
    let (_, detail) = kind_bytes(publication.kind());
    detail.iter().for_each(|detail| out.put_u8(*detail));
    if let Some(retry) = event.retry_time() {
        out.put_u64(milliseconds(retry));
    }
    texts(publication).for_each(|text| out.put_text(text));
}

/// The number of bytes of the head and the body.
pub(crate) fn size_of(publication: &Publication) -> usize {
    let (_, detail) = kind_bytes(publication.kind());
    let detail = usize::from(detail.is_some());
    let retry = if publication.event().retry_time().is_some() { 8 } else { 0 };
    let texts: usize = texts(publication).map(|text| 4 + text.len()).sum();
    6 + detail + retry + texts
}

/// The texts of the body, in order.
fn texts(publication: &Publication) -> impl Iterator<Item = &str> {
    let topics = publication.topics().map(Topic::as_str);
    let id = publication.external_id().map(ExternalId::as_str);
    topics.chain(publication.event_type()).chain(id).chain([publication.data()])
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
        Kind::Erase(Erase::One(_) | Erase::Event { .. }) => (ERASE, Some(2)),
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
