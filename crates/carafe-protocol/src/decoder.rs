//! The incremental decoder of event streams.

use std::borrow::Cow;
use std::mem;
use std::time::Duration;

use memchr::{memchr, memchr2};

/// Decodes an event stream that arrives in chunks.
///
/// The decoder follows WHATWG HTML, "Server-sent events", 9.2.5 and 9.2.6. It yields the same items
/// however the bytes are split, each as soon as its last byte arrives. It extends the standard in
/// two ways: it yields comments, and the last event ID outlives the connection, as in browsers.
///
/// The time is linear in the number of bytes, however they are split.
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

/// An item of a stream.
///
/// ```
/// use carafe_protocol::{Decoder, Received};
///
/// let received = Decoder::new().decode(&mut &b": hello\n"[..]);
/// assert_eq!(received, Ok(Some(Received::Comment("hello".into()))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// An event, yielded at its blank line.
    Event(ReceivedEvent),
    /// The time to wait before a reconnection, yielded at its line. A time beyond `u64::MAX`
    /// milliseconds is capped to that. A `retry` that is empty or not a number is ignored.
    Retry(Duration),
    /// A comment line without its colon and one leading space. The usual heartbeat is empty.
    Comment(String),
}

/// An event as a page receives it.
///
/// ```
/// use carafe_protocol::{Decoder, Received};
///
/// let mut input = &b"id: 7\ndata: espresso\n\n"[..];
/// let Ok(Some(Received::Event(event))) = Decoder::new().decode(&mut input) else { panic!() };
/// assert_eq!(event.event_type, "message");
/// assert_eq!((&*event.data, event.id()), ("espresso", "7"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedEvent {
    /// The type. `message` if the stream sets none.
    pub event_type: String,
    /// The data. Its lines are joined by LF.
    pub data: String,
    /// The ID after which to resume: the ID of this event, or the latest ID before it, or empty.
    pub last_event_id: String,
}

impl ReceivedEvent {
    /// The ID after which to resume, as browsers' `lastEventId`. It is empty if there is none.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.last_event_id
    }
}

/// An event has more bytes than the decoder may buffer.
///
/// ```
/// use carafe_protocol::Decoder;
///
/// let error = Decoder::new().with_limit(4).decode(&mut &b"data: long"[..]).unwrap_err();
/// assert_eq!(error.limit, 4);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the stream has an event of more than {limit} bytes: raise the decoder's limit, or publish \
     smaller events"
)]
#[non_exhaustive]
pub struct EventTooLarge {
    /// The limit in bytes, see [`Decoder::with_limit`].
    pub limit: usize,
}

impl Decoder {
    /// A decoder for a first stream, without a last event ID and without a limit.
    #[must_use]
    pub fn new() -> Self {
        Self { limit: usize::MAX, last_event_id: String::new(), stream: Stream::default() }
    }

    /// Sets the maximum number of bytes that the decoder buffers for one event: the current line
    /// with its field name, and the data, type and ID of the earlier lines of the event.
    ///
    /// Of comments, only the current line counts. There is no limit by default.
    #[must_use]
    pub fn with_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Sets the last event ID, such as that of an earlier decoder or an earlier run of the program.
    #[must_use]
    pub fn with_last_event_id(mut self, id: impl Into<String>) -> Self {
        self.last_event_id = id.into();
        self
    }

    /// The ID after which to resume: that of the latest complete block, with or without data.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// Takes the last event ID away: later events have an ID only if a block of the stream sets one
    /// from now on. Called after each event, it tells the IDs of events apart from those that they
    /// inherit.
    ///
    /// ```
    /// use carafe_protocol::{Decoder, Received};
    ///
    /// let (mut decoder, mut input) = (Decoder::new(), &b"id: 7\ndata: a\n\ndata: b\n\n"[..]);
    /// let mut ids = Vec::new();
    /// while let Some(Received::Event(_)) = decoder.decode(&mut input)? {
    ///     ids.push(decoder.take_last_event_id());
    /// }
    /// assert_eq!(ids, ["7", ""]);
    /// # Ok::<(), carafe_protocol::EventTooLarge>(())
    /// ```
    pub fn take_last_event_id(&mut self) -> String {
        mem::take(&mut self.last_event_id)
    }

    /// The bytes that are buffered of the event that is not complete.
    ///
    /// ```
    /// use carafe_protocol::Decoder;
    ///
    /// let mut decoder = Decoder::new();
    /// assert_eq!(decoder.decode(&mut &b"data: 12\ndata: 3"[..])?, None);
    /// assert_eq!(decoder.buffered(), "12\n".len() + "data: 3".len());
    /// # Ok::<(), carafe_protocol::EventTooLarge>(())
    /// ```
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.stream.line.len() + self.stream.block.len()
    }

    /// Decodes the next item from the front of `input` and moves `input` past it. `Ok(None)` means
    /// that all of `input` is consumed: call it again with the next chunk.
    ///
    /// # Errors
    /// When an event is larger than the limit. The decoder then rejects the rest of the stream with
    /// the same error, until [`next_stream`](Self::next_stream) is called. Otherwise it would
    /// commit the IDs of later events, and a client that resumes after them would miss this event.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Received>, EventTooLarge> {
        while let Some(line) = self.next_line(input)? {
            if let Some(received) = self.accept(&line) {
                return Ok(Some(received));
            }
        }
        Ok(None)
    }

    /// Prepares for the stream of another connection. Drops the incomplete event and its ID.
    ///
    /// The last event ID stays. It applies to the events of the new stream until one sets its own.
    pub fn next_stream(&mut self) {
        self.stream = Stream::default();
    }

    fn next_line<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<Cow<'a, [u8]>>, EventTooLarge> {
        // The block alone can exceed the limit, because an invalid byte becomes three bytes of
        // UTF-8.
        // One budget for the line and the block, so that a client cannot make an event unbounded by
        // many short lines.
        let room = self.limit.checked_sub(self.stream.block.len());
        room.filter(|_| !self.stream.rejected)
            .and_then(|room| self.stream.next_line(input, room).ok())
            .ok_or_else(|| self.reject(input))
    }

    /// Frees the buffers and consumes all input. A caller that loops until its input is empty must
    /// not loop forever.
    fn reject(&mut self, input: &mut &[u8]) -> EventTooLarge {
        *input = &[];
        self.stream = Stream { rejected: true, ..Stream::default() };
        EventTooLarge { limit: self.limit }
    }

    fn accept(&mut self, line: &[u8]) -> Option<Received> {
        let line = self.stream.without_bom(line);
        // 9.2.6: a blank line dispatches the event. A line with spaces only is not blank.
        if line.is_empty() {
            return self.dispatch().map(Received::Event);
        }
        let (name, value) = split_field(line);
        let block = &mut self.stream.block;
        match name {
            // 9.2.6 ignores a line that begins with a colon. It is yielded here, because heartbeats
            // tell an idle stream from a dead one.
            b"" => return Some(Received::Comment(text(value).into_owned())),
            // Takes effect at its line, without a blank line, as in 9.2.6.
            b"retry" => return retry(value).map(Received::Retry),
            b"data" => block.push_data(&text(value)),
            // The last `event` and the last `id` of a block win; `data` accumulates.
            b"event" => block.event_type = text(value).into_owned(),
            // An ID with a NUL is ignored: it could not be sent back in a header.
            b"id" if memchr(0, value).is_none() => block.id = Some(text(value).into_owned()),
            _ => {}
        }
        None
    }

    /// Handles a blank line. The ID counts even without data; the type counts for this block only.
    fn dispatch(&mut self) -> Option<ReceivedEvent> {
        let block = mem::take(&mut self.stream.block);
        // Committed before the check of the data: a block with an ID alone moves the position of
        // the client.
        if let Some(id) = block.id {
            self.last_event_id = id;
        }
        let mut data = block.data;
        // Removes the LF after the last line. A block without data lines dispatches no event.
        // `data:` alone gives one with empty data, since its LF is there.
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

/// The state of one connection.
#[derive(Clone, Debug, Default)]
struct Stream {
    /// The start of a line whose end has not arrived.
    line: Vec<u8>,
    /// A CR ended the latest line. An LF directly after it belongs to the same line break.
    after_cr: bool,
    /// The first line, which may have a byte order mark, has been read.
    begun: bool,
    rejected: bool,
    block: Block,
}

/// The fields since the latest blank line.
#[derive(Clone, Debug, Default)]
struct Block {
    /// Each line is followed by an LF, as in the standard. So the data is empty only if there was
    /// no line.
    data: String,
    event_type: String,
    id: Option<String>,
}

struct LineTooLong;

impl Stream {
    /// Takes a complete line from `input`, or buffers an incomplete one.
    fn next_line<'a>(
        &mut self,
        input: &mut &'a [u8],
        room: usize,
    ) -> Result<Option<Cow<'a, [u8]>>, LineTooLong> {
        // A CR ends its line at once, because the LF of a CRLF may be in a later chunk, or never
        // come.
        self.skip_lf_of_crlf(input);
        let found = memchr2(b'\r', b'\n', input);
        let (line, rest) = input.split_at(found.unwrap_or(input.len()));
        // Checked before the copy, and for complete lines, too: the result must not depend on how
        // the bytes were split. The sum cannot overflow: both are lengths in memory.
        if self.line.len() + line.len() > room {
            return Err(LineTooLong);
        }
        // Without a line end, all of `input` is the start of a line. Only this case copies.
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
        // `take` comes first: the flag is for the next byte only, whatever that is.
        if mem::take(&mut self.after_cr) && *first == b'\n' {
            *input = rest;
        }
    }

    /// Copies only a line that arrived in several chunks. Gives its buffer away, so that one long
    /// line does not occupy memory for the life of the decoder.
    fn complete<'a>(&mut self, end: &'a [u8]) -> Cow<'a, [u8]> {
        if self.line.is_empty() {
            return end.into();
        }
        self.line.extend_from_slice(end);
        mem::take(&mut self.line).into()
    }

    /// Removes the byte order mark. It contains no line break, so it is complete at the start of
    /// the first line, however the bytes were split.
    fn without_bom<'a>(&mut self, line: &'a [u8]) -> &'a [u8] {
        // 9.2.5: one byte order mark at the start of the stream is ignored; later ones are text.
        let first = !mem::replace(&mut self.begun, true);
        line.strip_prefix(b"\xEF\xBB\xBF").filter(|_| first).unwrap_or(line)
    }
}

impl Block {
    fn len(&self) -> usize {
        self.data.len() + self.event_type.len() + self.id.as_ref().map_or(0, String::len)
    }

    fn push_data(&mut self, line: &str) {
        if self.data.is_empty() {
            // Most events have one line. Growing by the LF alone would double the buffer.
            self.data.reserve_exact(line.len() + 1);
        }
        self.data.push_str(line);
        self.data.push('\n');
    }
}

/// Splits a line at the first colon and removes one space after it. A line without a colon is a
/// field name.
fn split_field(line: &[u8]) -> (&[u8], &[u8]) {
    let Some(colon) = memchr(b':', line) else {
        return (line, b"");
    };
    // A colon is one byte, so both indexes are within the line.
    let value = &line[colon + 1..];
    (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
}

/// Replaces invalid UTF-8. A sequence ends at any ASCII byte, so a value decodes by itself to the
/// same text as within the stream.
fn text(value: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(value)
}

fn retry(value: &[u8]) -> Option<Duration> {
    // `parse` alone would accept a `+`, which 9.2.6 does not.
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // Digits fail to parse only if there are too many.
    let milliseconds = text(value).parse().unwrap_or(u64::MAX);
    Some(Duration::from_millis(milliseconds))
}
