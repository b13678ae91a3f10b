//! How a stream writes events: the hub's own formats, and those that protocol adapters supply.
//!
//! A format is a small value, compared by identity, so that subscribers with the same format can
//! share encoded frames. This module knows no adapter.

use std::ptr;
use std::sync::OnceLock;

use carafe_log::{Entry, Kind};
use carafe_protocol::{Event, EventType, Position};

use crate::envelope::envelope;
use crate::frame::Frame;
use crate::gap::Gap;
use crate::recent_erasures::TopicBits;
use crate::report::{end_json, stop_json};

/// How a stream writes events. See [`Frames`](crate::Frames) and [`Encoder`] for examples.
///
/// ```
/// use carafe_hub::{Format, Hub};
/// use carafe_log::MemoryLog;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::new(MemoryLog::default());
/// let frames = hub.subscribe("orders/*").await?.into_frames(Format::Enveloped);
/// # drop(frames);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// The event as it was published, with its position as ID.
    #[default]
    Plain,
    /// Topic, ID, time, type and data as one JSON object in the data of an event without a type, so
    /// that one listener receives events of every type.
    Enveloped,
    /// As [`Plain`](Self::Plain), but what the hub itself reports is a comment. So clients that do
    /// not tell event types apart receive published events only.
    PlainCommented,
    /// As [`Enveloped`](Self::Enveloped), with comments like
    /// [`PlainCommented`](Self::PlainCommented).
    EnvelopedCommented,
    /// The format of a protocol adapter, made by [`Format::custom`].
    Custom(CustomFormat),
}

/// Identifies an [`Encoder`] in this process.
///
/// ```
/// use carafe_hub::{Encoder, Format};
/// use carafe_protocol::Event;
///
/// // Events without an ID, and nothing else.
/// static DATA_ONLY: Encoder =
///     Encoder::new(|entry, block| Event::new(entry.data()).encode(block), |_, _| {}, |_, _| {});
/// let Format::Custom(format) = Format::custom(&DATA_ONLY) else { panic!("an encoder is custom") };
/// assert_eq!(Format::Custom(format), Format::custom(&DATA_ONLY));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CustomFormat(u8);

/// Encodes the stream of an adapter's clients. Each function appends one block of an event stream.
///
/// The hub encodes an event once for all subscribers of a format. So an encoder must write nothing
/// that only some of them may know, such as the other topics of a private event.
///
/// ```
/// use carafe_hub::{Encoder, Format};
/// use carafe_protocol::{EventId, Position};
///
/// // Writes events with their offset as ID.
/// static BY_OFFSET: Encoder = Encoder::new(
///     |entry, block| {
///         let id = EventId::new(entry.offset().to_string()).expect("digits are an ID");
///         entry.publication.event().encode_with(&id, block);
///     },
///     |_, block| block.extend_from_slice(b": expired\n"),
///     |gap, block| block.extend_from_slice(format!(": gap {}\n", gap.to_json()).as_bytes()),
/// );
/// assert_eq!(Format::custom(&BY_OFFSET), Format::custom(&BY_OFFSET));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Encoder {
    /// Encodes an event.
    pub event: fn(&Entry, &mut Vec<u8>),
    /// Encodes the position of the stream. Without it, clients are sent a heartbeat instead.
    pub position: Option<fn(Position, &mut Vec<u8>)>,
    /// Encodes that the stream ends because its time is over. The client resumes after the
    /// position.
    pub expired: fn(Position, &mut Vec<u8>),
    /// Encodes that requested history is gone.
    pub gap: fn(&Gap, &mut Vec<u8>),
    /// Encodes an entry that is the end of a topic, or a request to stop. With it, streams of exact
    /// topics end with them. Without it, clients are sent a heartbeat instead, and their streams go
    /// on.
    pub life: Option<fn(&Entry, &mut Vec<u8>)>,
}

impl Encoder {
    /// An encoder of a format that states no positions.
    #[must_use]
    pub const fn new(
        event: fn(&Entry, &mut Vec<u8>),
        expired: fn(Position, &mut Vec<u8>),
        gap: fn(&Gap, &mut Vec<u8>),
    ) -> Self {
        Self { event, position: None, expired, gap, life: None }
    }

    /// Sets how the position of a stream is encoded.
    #[must_use]
    pub const fn with_position(mut self, position: fn(Position, &mut Vec<u8>)) -> Self {
        self.position = Some(position);
        self
    }

    /// Sets how ends of topics and requests to stop are encoded.
    #[must_use]
    pub const fn with_life(mut self, life: fn(&Entry, &mut Vec<u8>)) -> Self {
        self.life = Some(life);
        self
    }
}

/// The encoders that adapters have supplied. Entries are set once and never change, so reading one
/// takes no lock.
static ENCODERS: [OnceLock<&'static Encoder>; MAX_ENCODERS] =
    [const { OnceLock::new() }; MAX_ENCODERS];

/// Encoders that a process can use.
const MAX_ENCODERS: usize = 16;

/// Bytes of a block beside the data of its event: ID, type and field names.
const BLOCK_HEADER: usize = 96;

const POSITION: EventType = EventType::from_static("carafe.position");
const HEARTBEAT: EventType = EventType::from_static("carafe.heartbeat");
const EXPIRED: EventType = EventType::from_static("carafe.expired");
const GAP: EventType = EventType::from_static("carafe.gap");
const END: EventType = EventType::from_static("carafe.end");
const STOP: EventType = EventType::from_static("carafe.stop");

impl Format {
    /// The format of an encoder. The same encoder always gives the same format.
    ///
    /// # Panics
    /// When the process uses more than 16 encoders.
    #[must_use]
    pub fn custom(encoder: &'static Encoder) -> Self {
        let is_it = |slot: &OnceLock<_>| ptr::eq(*slot.get_or_init(|| encoder), encoder);
        let index = ENCODERS.iter().position(is_it).expect("a process has at most 16 encoders");
        Self::Custom(CustomFormat(index as u8))
    }

    /// The same format with comments for what the hub itself reports. Adapters' formats stay as
    /// they are.
    #[must_use]
    pub fn commented(self) -> Self {
        match self {
            Self::Plain | Self::PlainCommented => Self::PlainCommented,
            Self::Enveloped | Self::EnvelopedCommented => Self::EnvelopedCommented,
            Self::Custom(_) => self,
        }
    }

    /// The format that encodes entries of this kind in the same way: their frames are shared under
    /// this one.
    pub(crate) fn of_kind(self, kind: Kind) -> Self {
        match (self, kind) {
            (Self::PlainCommented, Kind::Event) => Self::Plain,
            (Self::EnvelopedCommented, Kind::Event) => Self::Enveloped,
            (_, Kind::Event) | (Self::Custom(_), _) => self,
            // Reports have no envelope.
            (Self::Plain | Self::Enveloped, _) => Self::Plain,
            (Self::PlainCommented | Self::EnvelopedCommented, _) => Self::PlainCommented,
        }
    }

    /// Whether a stream in this format ends with its topics.
    pub(crate) fn ends_with_topics(self) -> bool {
        match self {
            Self::Custom(format) => format.encoder().life.is_some(),
            _ => true,
        }
    }

    /// Encodes an entry for all subscribers that may know its topics.
    pub(crate) fn entry(self, entry: &Entry) -> Frame {
        self.block_of(entry).of_topics(TopicBits::of(&entry.publication))
    }

    fn block_of(self, entry: &Entry) -> Frame {
        let Self::Custom(format) = self else {
            return match entry.publication.kind() {
                Kind::End(outcome) => self.control(END, end_json(entry, outcome), entry.position),
                Kind::Stop => self.control(STOP, stop_json(entry), entry.position),
                _ => self.event(entry),
            };
        };
        match (entry.publication.kind(), format.encoder().life) {
            (Kind::End(_) | Kind::Stop, None) => Frame::chunked(carafe_protocol::HEARTBEAT),
            (Kind::End(_) | Kind::Stop, Some(encode)) => {
                Frame::encoded(BLOCK_HEADER, |block| encode(entry, block))
            }
            _ => self.event(entry),
        }
    }

    fn event(self, entry: &Entry) -> Frame {
        let event = entry.publication.event();
        match self {
            Self::Plain | Self::PlainCommented => block_at(event, entry.position),
            Self::Enveloped | Self::EnvelopedCommented => {
                block_at(&envelope(entry, |_| true), entry.position)
            }
            Self::Custom(format) => {
                let data = event.data().map_or(0, str::len);
                Frame::encoded(BLOCK_HEADER + data, |block| (format.encoder().event)(entry, block))
            }
        }
    }

    /// Whether the stream states its position, in events of their own.
    pub(crate) fn states_position(self) -> bool {
        match self {
            Self::Custom(format) => format.encoder().position.is_some(),
            _ => true,
        }
    }

    /// `carafe.position`: the position of the stream.
    pub(crate) fn position(self, position: Position) -> Frame {
        match self {
            Self::Custom(format) => match format.encoder().position {
                Some(encode) => Frame::encoded(BLOCK_HEADER, |block| encode(position, block)),
                None => Frame::chunked(carafe_protocol::HEARTBEAT),
            },
            _ => self.control(POSITION, position_json(position), position),
        }
    }

    /// `carafe.heartbeat`: an event with the position, also where other reports are comments, since
    /// its client requests an event. Formats of adapters have a position or a comment in its place.
    pub(crate) fn heartbeat(self, position: Position) -> Frame {
        match self {
            Self::Custom(_) => self.position(position),
            _ => {
                let event = Event::new(position_json(position)).with_type(HEARTBEAT);
                block_at(&event, position)
            }
        }
    }

    /// `carafe.expired`: the stream ends, and a client that reconnects resumes after the position.
    pub(crate) fn expired(self, position: Position) -> Frame {
        match self {
            Self::Custom(format) => {
                Frame::encoded(BLOCK_HEADER, |block| (format.encoder().expired)(position, block))
            }
            _ => self.control(EXPIRED, position_json(position), position),
        }
    }

    /// `carafe.gap`. Its ID is the position where the stream resumes: a client that is disconnected
    /// right after it was informed and asks again does not receive the gap twice.
    pub(crate) fn gap(self, gap: &Gap) -> Frame {
        match self {
            Self::Custom(format) => {
                Frame::encoded(BLOCK_HEADER, |block| (format.encoder().gap)(gap, block))
            }
            _ => self.control(GAP, gap.to_json(), gap.resume_after),
        }
    }

    /// A report of the hub. Its data is JSON: there are clients that parse the data of every event.
    ///
    /// A comment has its ID in a block without data. Browsers remember that ID and dispatch no
    /// event (WHATWG HTML, 9.2.6).
    fn control(self, event_type: EventType, json: String, position: Position) -> Frame {
        let event = match self {
            Self::PlainCommented | Self::EnvelopedCommented => {
                Event::default().with_comment(format!("{event_type} {json}"))
            }
            _ => Event::new(json).with_type(event_type),
        };
        block_at(&event, position)
    }
}

impl CustomFormat {
    fn encoder(self) -> &'static Encoder {
        ENCODERS[usize::from(self.0)].get().expect("an encoder is set before its format is made")
    }
}

fn position_json(position: Position) -> String {
    format!("{{\"position\":\"{position}\"}}")
}

/// An event with a position as ID.
pub(crate) fn block_at(event: &Event, position: Position) -> Frame {
    let data = event.data().map_or(0, str::len);
    Frame::encoded(BLOCK_HEADER + data, |block| event.encode_at(position, block))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use carafe_log::{Outcome, Publication};
    use carafe_protocol::{Generation, Topic};

    use super::*;
    use crate::gap::GapReason;

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
        let expected = "retry: 7\nevent: t\ndata: x\ndata: \"y\"\nid: 000000000001-2-00000003\n\n";
        check(&Format::Plain.entry(&entry()), expected);
    }

    #[test]
    fn an_envelope_has_all_fields_in_one_data_line_and_no_type() {
        let expected = "retry: 7\ndata: {\"topic\":\"a/b\",\
            \"id\":\"000000000001-2-00000003\",\"time\":\"1970-01-01T00:00:01.500Z\",\
            \"type\":\"t\",\"data\":\"x\\n\\\"y\\\"\"}\nid: 000000000001-2-00000003\n\n";
        check(&Format::Enveloped.event(&entry()), expected);
    }

    #[test]
    fn a_report_of_the_hub_has_json_data() {
        let data =
            "data: {\"position\":\"000000000001-2-00000003\"}\nid: 000000000001-2-00000003\n\n";
        let expected = format!("event: carafe.position\n{data}");
        check(&Format::Plain.position(entry().position), &expected);
        let expected = format!("event: carafe.expired\n{data}");
        check(&Format::Enveloped.expired(entry().position), &expected);
        let expected = format!("event: carafe.heartbeat\n{data}");
        check(&Format::Plain.heartbeat(entry().position), &expected);
        check(&Format::EnvelopedCommented.heartbeat(entry().position), &expected);
    }

    #[test]
    fn a_commented_format_has_the_same_events_and_reports_in_comments() {
        for (format, commented) in [
            (Format::Plain, Format::PlainCommented),
            (Format::Enveloped, Format::EnvelopedCommented),
        ] {
            assert_eq!((format.commented(), commented.commented()), (commented, commented));
            assert_eq!(format.event(&entry()).block(), commented.event(&entry()).block());
            let position = entry().position;
            let expected =
                format!(": carafe.position {{\"position\":\"{position}\"}}\nid: {position}\n\n");
            check(&commented.position(position), &expected);
            let (requested, reason) = ("a\u{2028}".into(), GapReason::Foreign);
            let gap = Gap { requested, oldest: None, reason, resume_after: position };
            let expected = format!(
                ": carafe.gap {{\"requested\":\"a\\u2028\",\"oldest\":null,\
                 \"reason\":\"foreign\"}}\nid: {position}\n\n"
            );
            check(&commented.gap(&gap), &expected);
        }
    }

    fn of_life(publication: Publication) -> Entry {
        Entry { publication, ..entry() }
    }

    #[test]
    fn an_end_and_a_stop_are_reports_with_their_position_as_id() {
        let topic = || Topic::new("a/b").unwrap();
        let position = entry().position;
        let end = of_life(Publication::end(topic(), Outcome::Failed).with_data("no\nbeans"));
        let data = format!(
            r#"{{"topic":"a/b","outcome":"failed","reason":"no\nbeans","position":"{position}"}}"#
        );
        let stop = of_life(Publication::stop(topic()));
        let of_stop = format!(r#"{{"topic":"a/b","reason":null,"position":"{position}"}}"#);
        for (format, commented) in [
            (Format::Plain, Format::PlainCommented),
            (Format::Enveloped, Format::EnvelopedCommented),
        ] {
            check(
                &format.entry(&end),
                &format!("event: carafe.end\ndata: {data}\nid: {position}\n\n"),
            );
            check(&commented.entry(&end), &format!(": carafe.end {data}\nid: {position}\n\n"));
            let expected = format!("event: carafe.stop\ndata: {of_stop}\nid: {position}\n\n");
            check(&format.entry(&stop), &expected);
        }
        check(&Format::custom(&SILENT).entry(&end), ":\n");
        assert!(!Format::custom(&SILENT).ends_with_topics());
        assert!(Format::PlainCommented.ends_with_topics());
    }

    static SILENT: Encoder = Encoder {
        event: |entry, block| block.extend_from_slice(format!(": {}\n", entry.offset()).as_bytes()),
        position: None,
        expired: |position, block| write(block, "expired", position),
        gap: |gap, block| block.extend_from_slice(gap.to_json().as_bytes()),
        life: None,
    };

    static STATING: Encoder =
        Encoder { position: Some(|position, block| write(block, "position", position)), ..SILENT };

    fn write(block: &mut Vec<u8>, what: &str, position: Position) {
        block.extend_from_slice(format!(": {what} {position}\n").as_bytes());
    }

    #[test]
    fn a_custom_format_is_encoded_by_its_adapter_and_known_by_the_encoders_identity() {
        let (silent, stating) = (Format::custom(&SILENT), Format::custom(&STATING));
        assert!(silent == Format::custom(&SILENT) && silent != stating);
        check(&silent.event(&entry()), ": 2\n");
        check(&silent.position(entry().position), ":\n");
        check(&stating.position(entry().position), ": position 000000000001-2-00000003\n");
        check(&silent.heartbeat(entry().position), ":\n");
        check(&silent.expired(entry().position), ": expired 000000000001-2-00000003\n");
        assert_eq!((silent.states_position(), stating.states_position()), (false, true));
        let (reason, resume_after) = (GapReason::Foreign, entry().position);
        let gap = Gap { requested: "a".into(), oldest: None, reason, resume_after };
        check(&silent.gap(&gap), r#"{"requested":"a","oldest":null,"reason":"foreign"}"#);
    }
}
