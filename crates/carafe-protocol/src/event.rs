//! One event and its encoding for the wire.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::str::FromStr;
use std::time::Duration;

use memchr::memchr2;

use crate::Position;

/// An empty comment line. It keeps an idle stream open, and clients ignore it.
pub const HEARTBEAT: &[u8] = b":\n";

/// Bytes of the longest position: 16 digits, 20 and 8, and two hyphens.
const LONGEST_POSITION: usize = 46;

/// One block of an event stream: data, type, ID, retry time and comment, each optional.
///
/// The encoded block has exactly these fields, whatever text they contain: data and comments are
/// split at each line break of the standard, and [`EventType`] and [`EventId`] contain none.
///
/// A block without data sets an ID or a retry time and dispatches no event to the page.
///
/// ```
/// use carafe_protocol::{Event, EventId, EventType};
///
/// let brewed = EventType::new("brewed")?;
/// let event = Event::new("one\ntwo").with_type(brewed).with_id(EventId::new("7")?);
/// assert_eq!(event.to_bytes(), b"event: brewed\ndata: one\ndata: two\nid: 7\n\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Event {
    data: Option<String>,
    event_type: Option<EventType>,
    id: Option<EventId>,
    retry: Option<Duration>,
    comment: Option<String>,
}

impl Event {
    /// An event with this data. The data may have several lines and may be empty.
    pub fn new(data: impl Into<String>) -> Self {
        Self { data: Some(data.into()), ..Self::default() }
    }

    /// A comment, which clients ignore. Each line of the text becomes a comment line.
    pub fn comment(text: impl Into<String>) -> Self {
        Self::default().with_comment(text)
    }

    /// A block that sets only the time that clients wait before they reconnect.
    pub fn retry(time: Duration) -> Self {
        Self::default().with_retry(time)
    }

    /// Sets the type. Pages listen for it with `addEventListener(type, …)`.
    pub fn with_type(mut self, event_type: EventType) -> Self {
        self.event_type = Some(event_type);
        self
    }

    /// Sets the ID. Clients send it as `Last-Event-ID` when they reconnect.
    pub fn with_id(mut self, id: EventId) -> Self {
        self.id = Some(id);
        self
    }

    /// Sets the time that clients wait before they reconnect, in whole milliseconds.
    pub fn with_retry(mut self, time: Duration) -> Self {
        self.retry = Some(time);
        self
    }

    /// Sets the comment. It precedes the fields.
    pub fn with_comment(mut self, text: impl Into<String>) -> Self {
        self.comment = Some(text.into());
        self
    }

    /// The data.
    #[must_use]
    pub fn data(&self) -> Option<&str> {
        self.data.as_deref()
    }

    /// The type.
    #[must_use]
    pub fn event_type(&self) -> Option<&EventType> {
        self.event_type.as_ref()
    }

    /// The ID.
    #[must_use]
    pub fn id(&self) -> Option<&EventId> {
        self.id.as_ref()
    }

    /// The time that clients wait before they reconnect.
    #[must_use]
    pub fn retry_time(&self) -> Option<Duration> {
        self.retry
    }

    /// The comment.
    #[must_use]
    pub fn comment_text(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    /// Appends the block and its closing blank line to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_fields(self.id.as_ref().map(EventId::as_str), out);
    }

    /// Appends the block with `position` as its ID.
    pub fn encode_at(&self, position: Position, out: &mut Vec<u8>) {
        // With the capacity at once: the text is written in pieces.
        let mut id = String::with_capacity(LONGEST_POSITION);
        write!(id, "{position}").expect("a String takes everything");
        self.encode_fields(Some(&id), out);
    }

    /// Appends the block with this ID.
    pub fn encode_with(&self, id: &EventId, out: &mut Vec<u8>) {
        self.encode_fields(Some(id.as_str()), out);
    }

    fn encode_fields(&self, id: Option<&str>, out: &mut Vec<u8>) {
        // The order of the fields means nothing to clients. Data comes last, so that a client that
        // reads line by line knows the type and the ID before it.
        for line in self.comment.iter().flat_map(|text| lines(text)) {
            field(out, "", line);
        }
        if let Some(retry) = self.retry {
            field(out, "retry", &retry.as_millis().to_string());
        }
        if let Some(event_type) = &self.event_type {
            field(out, "event", event_type.as_str());
        }
        for line in self.data.iter().flat_map(|data| lines(data)) {
            field(out, "data", line);
        }
        // Some clients store the ID at its line, and not at the blank line. If the connection is
        // lost within the block, they must not have it: they would never get the event.
        if let Some(id) = id {
            field(out, "id", id);
        }
        out.push(b'\n');
    }

    /// The block as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // 64 bytes cover the names of the fields, a position and a short type.
        let mut out = Vec::with_capacity(64 + self.data.as_ref().map_or(0, String::len));
        self.encode(&mut out);
        out
    }
}

/// The type of an event. It is not empty and has no line break.
///
/// ```
/// use carafe_protocol::EventType;
///
/// const BREWED: EventType = EventType::from_static("brewed");
/// assert_eq!(BREWED.as_str(), "brewed");
/// assert!(EventType::new("two\nlines").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType(Cow<'static, str>);

/// The text is not a valid event type.
///
/// ```
/// use carafe_protocol::{BadEventType, EventType};
///
/// assert_eq!(EventType::new(""), Err(BadEventType));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event type has one line of text and is not empty: use one line, or set no type")]
pub struct BadEventType;

impl EventType {
    /// Checks that `text` is an event type.
    ///
    /// # Errors
    /// When the text is empty, which clients read as `message`, or has a line break.
    pub fn new(text: impl Into<String>) -> Result<Self, BadEventType> {
        let text = text.into();
        // A line break would end the field and could forge others.
        if text.is_empty() || has_line_break(&text) {
            return Err(BadEventType);
        }
        Ok(Self(text.into()))
    }

    /// An event type that is known at compile time.
    ///
    /// # Panics
    /// When [`EventType::new`] would reject it. In a `const`, this is a compile error.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        let bytes = text.as_bytes();
        assert!(!bytes.is_empty(), "an event type is not empty");
        let mut at = 0;
        // A loop by index: iterators and `memchr` do not run in a `const`.
        while at < bytes.len() {
            assert!(bytes[at] != b'\n' && bytes[at] != b'\r', "an event type is one line");
            at += 1;
        }
        Self(Cow::Borrowed(text))
    }

    /// The type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EventType {
    type Err = BadEventType;

    fn from_str(text: &str) -> Result<Self, BadEventType> {
        Self::new(text)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The ID of an event. It has no line break and no NUL. An empty ID clears the last event ID of the
/// client.
///
/// ```
/// use carafe_protocol::EventId;
///
/// assert_eq!(EventId::new("7")?.as_str(), "7");
/// # Ok::<(), carafe_protocol::BadEventId>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(String);

/// The text is not a valid event ID.
///
/// ```
/// use carafe_protocol::{BadEventId, EventId};
///
/// assert_eq!(EventId::new("two\nlines"), Err(BadEventId));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an event ID has no line break and no NUL, since clients ignore such IDs: use one line of text"
)]
pub struct BadEventId;

impl EventId {
    /// Checks that `text` is an event ID.
    ///
    /// # Errors
    /// When the text has a line break or a NUL.
    pub fn new(text: impl Into<String>) -> Result<Self, BadEventId> {
        let text = text.into();
        // A line break would end the field and could forge others. 9.2.6 ignores an ID with a NUL.
        if has_line_break(&text) || text.contains('\0') {
            return Err(BadEventId);
        }
        Ok(Self(text))
    }

    /// The ID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EventId {
    type Err = BadEventId;

    fn from_str(text: &str) -> Result<Self, BadEventId> {
        Self::new(text)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn has_line_break(text: &str) -> bool {
    memchr2(b'\r', b'\n', text.as_bytes()).is_some()
}

/// Writes a field, or a comment if `name` is empty.
///
/// Clients remove one space after the colon. So the encoder always writes one, and a value that
/// begins with a space keeps it.
fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    // An empty value needs no space: `data:` and `data: ` mean the same.
    out.extend_from_slice(if value.is_empty() { b":" } else { b": " });
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}

/// The lines of `text`, split at CRLF, LF and CR like a stream in the standard. There is at least
/// one line.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = memchr2(b'\r', b'\n', text.as_bytes()) else {
            return rest.take();
        };
        let after = &text[end..];
        // `after` begins with CR or LF, which are one byte each, so `get(1..)` is on a character
        // boundary. CRLF is one line break.
        rest = after.strip_prefix("\r\n").or(after.get(1..));
        Some(&text[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(event: &Event, expected: &str) {
        assert_eq!(String::from_utf8(event.to_bytes()).unwrap(), expected);
    }

    #[test]
    fn data_is_split_at_every_line_break_of_the_standard() {
        check(&Event::new("1"), "data: 1\n\n");
        check(&Event::new(""), "data:\n\n");
        check(&Event::new("a\nb"), "data: a\ndata: b\n\n");
        check(&Event::new("a\rb"), "data: a\ndata: b\n\n");
        check(&Event::new("a\r\nb"), "data: a\ndata: b\n\n");
        check(&Event::new("a\n\rb"), "data: a\ndata:\ndata: b\n\n");
        check(&Event::new("a\r\n"), "data: a\ndata:\n\n");
        check(&Event::new("a\n\ndata: forged"), "data: a\ndata:\ndata: data: forged\n\n");
    }

    #[test]
    fn line_breaks_of_other_standards_are_data() {
        check(
            &Event::new("a\u{2028}b\u{0085}c\u{000b}d"),
            "data: a\u{2028}b\u{0085}c\u{000b}d\n\n",
        );
    }

    #[test]
    fn a_leading_space_survives_the_clients_removal_of_one() {
        check(&Event::new(" a"), "data:  a\n\n");
    }

    #[test]
    fn a_comment_cannot_leave_its_lines() {
        check(&Event::comment("a\ndata: forged\r\rb"), ": a\n: data: forged\n:\n: b\n\n");
    }

    #[test]
    fn retry_stands_alone_in_whole_milliseconds() {
        check(&Event::retry(Duration::from_secs(10)), "retry: 10000\n\n");
        check(&Event::retry(Duration::from_micros(1500)), "retry: 1\n\n");
    }

    #[test]
    fn all_fields_are_written_in_one_block() {
        let event = Event::new("x")
            .with_comment("c")
            .with_type(EventType::from_static("t"))
            .with_id(EventId::new("7").unwrap())
            .with_retry(Duration::from_millis(5));
        check(&event, ": c\nretry: 5\nevent: t\ndata: x\nid: 7\n\n");
    }

    #[test]
    fn a_type_or_id_that_could_forge_a_field_is_never_constructed() {
        for bad in ["", "a\nb", "a\rb", "a\r\n"] {
            assert_eq!(EventType::new(bad), Err(BadEventType), "{bad:?}");
            assert_eq!(bad.parse::<EventType>(), Err(BadEventType), "{bad:?}");
        }
        for bad in ["a\nb", "\r", "a\0b"] {
            assert_eq!(EventId::new(bad), Err(BadEventId), "{bad:?}");
            assert_eq!(bad.parse::<EventId>(), Err(BadEventId), "{bad:?}");
        }
        assert_eq!("t".parse(), EventType::new("t"));
        assert_eq!("7".parse(), EventId::new("7"));
        assert_eq!(EventId::new("").unwrap().as_str(), "");
    }
}
