//! Entries and control events as the bytes that subscribers get.

use std::time::SystemTime;

use bytes::Bytes;
use carafe_log::Entry;
use carafe_protocol::{Event, EventId, EventType, HEARTBEAT, Position, Topic};
use serde::Serialize;

/// In which form a subscriber gets events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Form {
    /// The event as it was published, with its position as ID.
    #[default]
    Plain,
    /// Topic, ID, time, type and data as one JSON object in the data of an event without a type, so
    /// that one listener sees events of every type.
    Enveloped,
    /// As Mercure has it: the ID is the publisher's own, see [`event_id`]. What the hub has to say
    /// of itself is a comment, which clients do not show.
    Mercure,
}

const POSITION: EventType = EventType::from_static("carafe.position");
const EXPIRED: EventType = EventType::from_static("carafe.expired");
const GAP: EventType = EventType::from_static("carafe.gap");

impl Form {
    /// How many forms there are.
    pub(crate) const COUNT: usize = 3;

    /// The entry in this form.
    pub(crate) fn encode(self, entry: &Entry) -> Frame {
        let event = entry.publication.event();
        match self {
            Self::Plain => Frame::of(event, entry.position),
            Self::Mercure => {
                let mut block = Vec::with_capacity(96 + event.data().map_or(0, str::len));
                event.encode_with(&event_id(entry), &mut block);
                Frame::chunked(&block)
            }
            Self::Enveloped => envelope_frame(entry, |_| true),
        }
    }
}

/// The entry in an envelope that names those of its topics that its reader may know.
pub(crate) fn envelope_frame(entry: &Entry, names: impl Fn(&Topic) -> bool) -> Frame {
    let enveloped = Event::new(Envelope::of(entry, names).to_json());
    Frame::of(&with_retry_of(entry.publication.event(), enveloped), entry.position)
}

/// One block of an event stream, encoded once for both ways out: as it is, and as a chunk of
/// HTTP/1.1 (RFC 9112, 7.1).
#[derive(Clone, Default)]
pub(crate) struct Frame {
    chunk: Bytes,
    /// Where in the chunk the block begins.
    begins: usize,
}

impl Frame {
    fn of(event: &Event, position: Position) -> Self {
        let mut block = Vec::with_capacity(96 + event.data().map_or(0, str::len));
        event.encode_at(position, &mut block);
        Self::chunked(&block)
    }

    /// `block` as a chunk.
    pub(crate) fn chunked(block: &[u8]) -> Self {
        let size = format!("{:x}\r\n", block.len());
        let chunk = [size.as_bytes(), block, b"\r\n"].concat();
        Self { chunk: chunk.into(), begins: size.len() }
    }

    /// The bytes that a client of an event stream gets.
    pub(crate) fn block(&self) -> Bytes {
        let ends = self.chunk.len().saturating_sub(2);
        self.chunk.slice(self.begins..ends)
    }

    /// The same with the framing of a chunk around it.
    pub(crate) fn chunk(&self) -> &Bytes {
        &self.chunk
    }

    /// How many bytes it takes.
    pub(crate) fn len(&self) -> usize {
        self.chunk.len()
    }
}

/// The ID of an event where events have their publishers' IDs: that, or its position where it has
/// none.
#[must_use]
pub fn event_id(entry: &Entry) -> EventId {
    let text = entry
        .publication
        .external_id()
        .map_or_else(|| entry.position.to_string(), ToString::to_string);
    EventId::new(text).expect("neither has a control character")
}

/// `carafe.position`: where the stream stands. An ID without data is ignored by real clients, so
/// there is an empty line.
pub(crate) fn position_frame(form: Form, position: Position) -> Frame {
    match form {
        Form::Mercure => Frame::chunked(HEARTBEAT),
        _ => Frame::of(&Event::new("").with_type(POSITION), position),
    }
}

/// `carafe.expired`: the stream ends, and a client that comes back goes on after the position.
pub(crate) fn expired_frame(form: Form, position: Position) -> Frame {
    match form {
        Form::Mercure => Frame::chunked(b": carafe.expired\n"),
        _ => Frame::of(&Event::new("").with_type(EXPIRED), position),
    }
}

/// `carafe.gap`. Its ID is where the stream goes on, so that a client cut off right after it has
/// been told.
pub(crate) fn gap_frame(form: Form, json: String, goes_on_after: Position) -> Frame {
    match form {
        // JSON of one line.
        Form::Mercure => Frame::chunked(format!(": carafe.gap {json}\n").as_bytes()),
        _ => Frame::of(&Event::new(json).with_type(GAP), goes_on_after),
    }
}

fn with_retry_of(event: &Event, enveloped: Event) -> Event {
    match event.retry_time() {
        Some(time) => enveloped.with_retry(time),
        None => enveloped,
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alternates: Vec<&'a str>,
    id: String,
    time: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    event_type: Option<&'a str>,
    data: &'a str,
}

impl<'a> Envelope<'a> {
    fn of(entry: &'a Entry, names: impl Fn(&Topic) -> bool) -> Self {
        let publication = &entry.publication;
        let mut topics = publication.topics().filter(|topic| names(topic)).map(Topic::as_str);
        Self {
            // Who may see an event may see one of its topics.
            topic: topics.next().unwrap_or_default(),
            alternates: topics.collect(),
            id: entry.position.to_string(),
            time: rfc3339(entry.time),
            event_type: publication.event().event_type().map(EventType::as_str),
            data: publication.event().data().unwrap_or_default(),
        }
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an object of strings is always JSON")
    }
}

/// The time in UTC to the millisecond, such as `2026-11-23T08:15:00.123Z`.
fn rfc3339(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use carafe_log::{ExternalId, Publication};
    use carafe_protocol::Generation;

    use super::*;
    use crate::{Gap, GapReason};

    fn entry() -> Entry {
        Entry {
            position: Position { generation: Generation::new(1), offset: 2, nonce: 3 },
            time: UNIX_EPOCH + Duration::from_millis(1_500),
            publication: Publication::new(Topic::new("a/b").unwrap(), "x\n\"y\"")
                .with_type(EventType::from_static("t"))
                .with_retry(Duration::from_millis(7)),
        }
    }

    #[track_caller]
    fn check(frame: &Frame, expected: &str) {
        assert_eq!(std::str::from_utf8(&frame.block()).unwrap(), expected);
        let chunk = format!("{:x}\r\n{expected}\r\n", expected.len());
        assert_eq!(std::str::from_utf8(frame.chunk()).unwrap(), chunk);
    }

    #[test]
    fn a_plain_frame_is_the_event_with_its_position_as_id() {
        let expected = "retry: 7\nid: 000000000001-2-00000003\nevent: t\ndata: x\ndata: \"y\"\n\n";
        check(&Form::Plain.encode(&entry()), expected);
    }

    #[test]
    fn an_envelope_tells_all_in_one_line_of_data_and_has_no_type() {
        let expected = "retry: 7\nid: 000000000001-2-00000003\ndata: {\"topic\":\"a/b\",\
            \"id\":\"000000000001-2-00000003\",\"time\":\"1970-01-01T00:00:01.500Z\",\"type\":\"t\",\
            \"data\":\"x\\n\\\"y\\\"\"}\n\n";
        check(&Form::Enveloped.encode(&entry()), expected);
    }

    #[test]
    fn a_position_is_told_with_one_empty_data_line() {
        let expected = "id: 000000000001-2-00000003\nevent: carafe.position\ndata:\n\n";
        check(&position_frame(Form::Plain, entry().position), expected);
    }

    #[test]
    fn mercure_has_the_publishers_id_and_else_the_position() {
        let fields = "event: t\ndata: x\ndata: \"y\"\n\n";
        check(
            &Form::Mercure.encode(&entry()),
            &format!("retry: 7\nid: 000000000001-2-00000003\n{fields}"),
        );
        let mut named = entry();
        named.publication = named.publication.with_external_id(ExternalId::new("urn:a é").unwrap());
        check(&Form::Mercure.encode(&named), &format!("retry: 7\nid: urn:a é\n{fields}"));
    }

    #[test]
    fn to_mercure_the_hub_says_nothing_but_comments_of_one_line() {
        let position = entry().position;
        check(&position_frame(Form::Mercure, position), ":\n");
        check(&expired_frame(Form::Mercure, position), ": carafe.expired\n");
        let gap = Gap {
            requested: "a\r\nb".into(),
            oldest: None,
            reason: GapReason::Foreign,
            goes_on_after: position,
        };
        let expected =
            ": carafe.gap {\"requested\":\"a\\r\\nb\",\"oldest\":null,\"reason\":\"foreign\"}\n";
        check(&gap_frame(Form::Mercure, gap.to_json(), position), expected);
    }
}
