//! The incremental decoder of event streams.

use std::borrow::Cow;
use std::mem;
use std::time::Duration;

use memchr::{memchr, memchr2};

/// Decodes an event stream that arrives in pieces.
///
/// It follows WHATWG HTML, "Server-sent events", 9.2.5 and 9.2.6, and yields the same for any split
/// of the bytes, each thing as soon as its last byte is there. Two things go beyond the standard's
/// text: comments are told, and, as in browsers, the last event ID outlives the connection.
///
/// Time is linear in the bytes, however they are split.
///
/// ```
/// use carafe_protocol::{Decoder, Received};
///
/// let mut decoder = Decoder::new();
/// let mut brewed = Vec::new();
/// for chunk in [&b"id: 7\nda"[..], b"ta: espresso\r", b"\n\r\ndata: lost"] {
///     let mut input = chunk;
///     while let Some(received) = decoder.decode(&mut input)? {
///         if let Received::Event(event) = received {
///             brewed.push(event.data);
///         }
///     }
/// }
/// assert_eq!(brewed, ["espresso"]);
/// assert_eq!(decoder.last_event_id(), "7");
/// # Ok::<(), carafe_protocol::EventTooLarge>(())
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    limit: usize,
    last_event_id: String,
    stream: Stream,
}

/// What a stream told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// An event, at its blank line.
    Event(ReceivedEvent),
    /// The time to wait before reconnecting, at once at its line. One beyond `u64::MAX`
    /// milliseconds is taken for that many; a `retry` that is empty or not a number is ignored.
    Retry(Duration),
    /// A comment line, without its colon and one leading space; empty for the usual heartbeat.
    Comment(String),
}

/// An event as a page would get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedEvent {
    /// The type; `message` when the stream named none.
    pub event_type: String,
    /// The data, its lines joined by LF.
    pub data: String,
    /// The ID to resume after: the event's own, else the latest one before it, else empty.
    pub last_event_id: String,
}

/// An event has more bytes than the decoder may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the stream has an event of more than {limit} bytes: raise the decoder's limit or ask the server for smaller events"
)]
#[non_exhaustive]
pub struct EventTooLarge {
    /// The most bytes that were allowed, see [`Decoder::with_limit`].
    pub limit: usize,
}

impl Decoder {
    /// A decoder for a first stream: no last event ID, no limit.
    #[must_use]
    pub fn new() -> Self {
        Self { limit: usize::MAX, last_event_id: String::new(), stream: Stream::default() }
    }

    /// Sets the most bytes that one event may make the decoder hold: the line being read, whole
    /// with its field name, and the data, type and ID that the event's earlier lines gave.
    ///
    /// A comment is held only as a line. Without this, there is no limit.
    #[must_use]
    pub fn with_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Sets the last event ID that an earlier decoder, or an earlier life of the program, ended
    /// with.
    #[must_use]
    pub fn with_last_event_id(mut self, id: impl Into<String>) -> Self {
        self.last_event_id = id.into();
        self
    }

    /// The ID to resume after: that of the latest block, with data or not, whose blank line has
    /// come.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// Decodes from the front of `input`, up to and including the first thing it yields, and moves
    /// `input` past that. `Ok(None)` means that all is consumed: feed what comes next.
    ///
    /// # Errors
    /// When an event is larger than the limit. The rest of the stream is then refused with the same
    /// error until [`next_stream`](Self::next_stream), whatever is fed: reading on would commit the
    /// IDs of later events, and a client that resumes after those would never get this one.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Received>, EventTooLarge> {
        while let Some(line) = self.next_line(input)? {
            if let Some(received) = self.accept(&line) {
                return Ok(Some(received));
            }
        }
        Ok(None)
    }

    /// The connection ended: drops the unfinished event with its ID, and expects a new stream.
    ///
    /// The last event ID stays, and is that of the new stream's events until one brings its own.
    pub fn next_stream(&mut self) {
        self.stream = Stream::default();
    }

    fn next_line<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<Cow<'a, [u8]>>, EventTooLarge> {
        // The block alone can pass the limit: a byte that is not UTF-8 becomes three.
        let room = self.limit.checked_sub(self.stream.block.len());
        room.filter(|_| !self.stream.refused)
            .and_then(|room| self.stream.next_line(input, room).ok())
            .ok_or_else(|| self.refuse(input))
    }

    /// All held is let go, and all given is consumed, so that no caller waits for it to shrink.
    fn refuse(&mut self, input: &mut &[u8]) -> EventTooLarge {
        *input = &[];
        self.stream = Stream { refused: true, ..Stream::default() };
        EventTooLarge { limit: self.limit }
    }

    fn accept(&mut self, line: &[u8]) -> Option<Received> {
        let line = self.stream.without_bom(line);
        if line.is_empty() {
            return self.dispatch().map(Received::Event);
        }
        let (name, value) = split_field(line);
        let block = &mut self.stream.block;
        match name {
            b"" => return Some(Received::Comment(text(value).into_owned())),
            b"retry" => return retry(value).map(Received::Retry),
            b"data" => block.push_data(&text(value)),
            b"event" => block.event_type = text(value).into_owned(),
            b"id" if memchr(0, value).is_none() => block.id = Some(text(value).into_owned()),
            _ => {}
        }
        None
    }

    /// The blank line: the ID counts even where there is no data, the type only for this block.
    fn dispatch(&mut self) -> Option<ReceivedEvent> {
        let block = mem::take(&mut self.stream.block);
        if let Some(id) = block.id {
            self.last_event_id = id;
        }
        let mut data = block.data;
        data.pop()?;
        Some(ReceivedEvent {
            event_type: if block.event_type.is_empty() {
                "message".into()
            } else {
                block.event_type
            },
            data,
            last_event_id: self.last_event_id.clone(),
        })
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

/// What ends with the connection.
#[derive(Clone, Debug, Default)]
struct Stream {
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// A CR ended the latest line; an LF right after it belongs to it.
    after_cr: bool,
    /// The first line, which may have a BOM, has been read.
    begun: bool,
    refused: bool,
    block: Block,
}

/// The fields since the latest blank line.
#[derive(Clone, Debug, Default)]
struct Block {
    /// Each line with an LF after it, as in the standard: empty only where there was no line.
    data: String,
    event_type: String,
    id: Option<String>,
}

struct LineTooLong;

impl Stream {
    /// Takes a whole line off `input`, or keeps what there is of it.
    fn next_line<'a>(
        &mut self,
        input: &mut &'a [u8],
        room: usize,
    ) -> Result<Option<Cow<'a, [u8]>>, LineTooLong> {
        self.skip_lf_of_crlf(input);
        let found = memchr2(b'\r', b'\n', input);
        let (line, rest) = input.split_at(found.unwrap_or(input.len()));
        if self.line.len() + line.len() > room {
            return Err(LineTooLong);
        }
        let Some((end, rest)) = rest.split_first() else {
            self.line.extend_from_slice(line);
            *input = rest;
            return Ok(None);
        };
        self.after_cr = *end == b'\r';
        *input = rest;
        Ok(Some(self.complete(line)))
    }

    fn skip_lf_of_crlf(&mut self, input: &mut &[u8]) {
        let Some((first, rest)) = input.split_first() else {
            return;
        };
        if mem::take(&mut self.after_cr) && *first == b'\n' {
            *input = rest;
        }
    }

    /// Copies only a line that came in pieces, and gives its buffer away, so that one long line
    /// does not bind memory for ever.
    fn complete<'a>(&mut self, end: &'a [u8]) -> Cow<'a, [u8]> {
        if self.line.is_empty() {
            return end.into();
        }
        self.line.extend_from_slice(end);
        mem::take(&mut self.line).into()
    }

    /// A BOM has no line break, so it is whole at the front of the first line, however it was
    /// split.
    fn without_bom<'a>(&mut self, line: &'a [u8]) -> &'a [u8] {
        let first = !mem::replace(&mut self.begun, true);
        line.strip_prefix(b"\xEF\xBB\xBF").filter(|_| first).unwrap_or(line)
    }
}

impl Block {
    fn len(&self) -> usize {
        self.data.len() + self.event_type.len() + self.id.as_ref().map_or(0, String::len)
    }

    fn push_data(&mut self, line: &str) {
        self.data.push_str(line);
        self.data.push('\n');
    }
}

/// Splits at the first colon and removes one space after it. Without a colon, the line is the name.
fn split_field(line: &[u8]) -> (&[u8], &[u8]) {
    let Some(colon) = memchr(b':', line) else {
        return (line, b"");
    };
    let value = &line[colon + 1..];
    (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
}

/// Replaces what is not UTF-8. A sequence ends at any ASCII byte, so a value by itself decodes as
/// it does within the stream.
fn text(value: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(value)
}

fn retry(value: &[u8]) -> Option<Duration> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Digits fail to parse only when there are too many.
    let milliseconds = text(value).parse().unwrap_or(u64::MAX);
    Some(Duration::from_millis(milliseconds))
}
