//! Scans event streams for marks, without copies or allocations for events that arrive in one read.
//!
//! It must find the same events as `carafe_protocol::Decoder` at a fraction of the cost, or the
//! load generator would be the bottleneck. A property test compares the two.

use memchr::{memchr, memchr2};

use crate::framing::{BadFraming, Framing};
use crate::mark::{Mark, Run};

/// The state of one stream.
pub(crate) struct Scanner {
    framing: Framing,
    lines: Lines,
    block: Block,
}

/// The start of an incomplete line.
#[derive(Default)]
struct Lines {
    held: Vec<u8>,
    after_cr: bool,
    begun: bool,
}

/// The fields since the last blank line.
#[derive(Default)]
struct Block {
    mark: Option<Mark>,
    has_data: bool,
    is_gap: bool,
    has_id: bool,
}

/// What the scanner reports.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// An event of this run.
    Event(Mark),
    /// A `carafe.gap` event.
    Gap,
    /// Milliseconds to wait before reconnecting.
    Retry(u32),
}

/// The last event ID, only in runs that resume.
#[derive(Default)]
pub(crate) struct LastEventId {
    latest: Vec<u8>,
    pending: Vec<u8>,
}

impl LastEventId {
    pub(crate) fn latest(&self) -> &[u8] {
        &self.latest
    }
}

impl Scanner {
    pub(crate) fn new(framing: Framing) -> Self {
        Self { framing, lines: Lines::default(), block: Block::default() }
    }

    /// Whether the server has ended the stream with a last chunk.
    pub(crate) fn is_ended(&self) -> bool {
        self.framing.is_ended()
    }

    /// Scans bytes, and reports what they contain.
    pub(crate) fn feed(
        &mut self,
        mut input: &[u8],
        run: &Run,
        mut id: Option<&mut LastEventId>,
        mut found: impl FnMut(Found),
    ) -> Result<(), BadFraming> {
        while let Some(mut body) = self.framing.next(&mut input)? {
            let Self { lines, block, .. } = self;
            lines.feed(&mut body, |line| {
                if let Some(it) = block.accept(line, run, id.as_deref_mut()) {
                    found(it);
                }
            });
        }
        Ok(())
    }
}

impl Lines {
    fn feed(&mut self, input: &mut &[u8], mut line: impl FnMut(&[u8])) {
        if std::mem::take(&mut self.after_cr) && input.first() == Some(&b'\n') {
            *input = &input[1..];
        }
        while let Some(end) = memchr2(b'\r', b'\n', input) {
            let (whole, rest) = input.split_at(end);
            self.give(whole, &mut line);
            let ends = if rest.starts_with(b"\r\n") { 2 } else { 1 };
            self.after_cr = rest == b"\r";
            *input = &rest[ends..];
        }
        self.held.extend_from_slice(input);
    }

    fn give(&mut self, end: &[u8], line: &mut impl FnMut(&[u8])) {
        let first = !std::mem::replace(&mut self.begun, true);
        let without_bom = |bytes| if first { strip_bom(bytes) } else { bytes };
        if self.held.is_empty() {
            return line(without_bom(end));
        }
        self.held.extend_from_slice(end);
        line(without_bom(&self.held));
        // Frees the buffer: most lines arrive whole, and there may be a million connections.
        self.held = Vec::new();
    }
}

fn strip_bom(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line)
}

impl Block {
    fn accept(&mut self, line: &[u8], run: &Run, id: Option<&mut LastEventId>) -> Option<Found> {
        let Some(first) = line.first() else {
            return self.dispatch(id);
        };
        match first {
            b'd' => self.data(value(line, b"data")?, run),
            b'i' => self.id(value(line, b"id")?, id?),
            b'e' => self.is_gap = value(line, b"event")? == b"carafe.gap",
            b'r' => return retry(value(line, b"retry")?),
            _ => {}
        }
        None
    }

    /// Only the first data line can have the mark.
    fn data(&mut self, value: &[u8], run: &Run) {
        if !std::mem::replace(&mut self.has_data, true) {
            self.mark = run.read(value);
        }
    }

    fn id(&mut self, value: &[u8], id: &mut LastEventId) {
        if memchr(0, value).is_none() {
            id.pending.clear();
            id.pending.extend_from_slice(value);
            self.has_id = true;
        }
    }

    /// A blank line completes the event.
    fn dispatch(&mut self, id: Option<&mut LastEventId>) -> Option<Found> {
        let block = std::mem::take(self);
        if let Some(id) = id.filter(|_| block.has_id) {
            std::mem::swap(&mut id.latest, &mut id.pending);
        }
        if block.is_gap && block.has_data {
            return Some(Found::Gap);
        }
        block.mark.map(Found::Event)
    }
}

/// The value of a line with this field. Without a colon, the line is the name.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(name)?;
    let Some((colon, value)) = rest.split_first() else {
        return Some(rest);
    };
    (*colon == b':').then(|| value.strip_prefix(b" ").unwrap_or(value))
}

fn retry(value: &[u8]) -> Option<Found> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let milliseconds = std::str::from_utf8(value).ok()?.parse().unwrap_or(u32::MAX);
    Some(Found::Retry(milliseconds))
}
