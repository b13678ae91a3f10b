//! HTTP/2 as far as the load needs it: a connection that opens a number of streams, and reads them
//! (RFC 9113).
//!
//! The load must be faster than the server, so frames are parsed in place and lead directly to the
//! scanners. Nothing is written but requests, acknowledgements and window updates.

use crate::framing::Framing;
use crate::mark::Run;
use crate::scanner::{Found, Scanner};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes of a frame's head.
const HEAD: usize = 9;

/// Types of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// Flags.
const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Settings: no push, and the largest windows.
const ENABLE_PUSH: u16 = 2;
const INITIAL_WINDOW_SIZE: u16 = 4;

const MAX_WINDOW: u32 = (1 << 31) - 1;
const DEFAULT_WINDOW: u32 = 65_535;

/// `:status 200` of HPACK's static table, the only form that servers use.
const STATUS_200: u8 = 0x88;

/// The streams of a connection.
pub(crate) struct Streams {
    streams: Vec<Stream>,
    open: usize,
    /// The start of an incomplete frame.
    held: Vec<u8>,
    /// Bytes to be written.
    pub(crate) outgoing: Vec<u8>,
    /// Bytes of all streams since the last update of the connection's window.
    received: u32,
}

struct Stream {
    scanner: Scanner,
    /// The number of the next event.
    next: u64,
    received: u32,
}

/// Why a connection cannot be used further.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A stream has ended, or the connection is about to.
    Ended,
    /// The response is not a stream.
    Refused,
    /// The bytes are not HTTP/2.
    Invalid,
}

struct Frame<'a> {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &'a [u8],
}

impl Streams {
    /// One for each path. All requests are in `outgoing`.
    pub(crate) fn new(scheme: &str, authority: &str, paths: &[String]) -> Self {
        let mut outgoing = PREFACE.to_vec();
        let settings = [(ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, MAX_WINDOW)];
        let settings = settings.map(|(name, value): (u16, u32)| {
            [&name.to_be_bytes()[..], &value.to_be_bytes()].concat()
        });
        write_frame(&mut outgoing, SETTINGS, 0, 0, &settings.concat());
        update_window(&mut outgoing, 0, MAX_WINDOW - DEFAULT_WINDOW);
        for (path, number) in paths.iter().zip(0..) {
            let headers = request(scheme, authority, path);
            write_frame(&mut outgoing, HEADERS, END_STREAM | END_HEADERS, id(number), &headers);
        }
        Self {
            streams: paths.iter().map(|_| Stream::new()).collect(),
            open: 0,
            held: Vec::new(),
            outgoing,
            received: 0,
        }
    }

    /// The number of streams that are open.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// For each stream, the number of the next event.
    pub(crate) fn next_numbers(&self) -> impl Iterator<Item = u64> {
        self.streams.iter().map(|stream| stream.next)
    }

    /// Parses what has arrived. `found` gets the place of the stream.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        run: &Run,
        found: &mut impl FnMut(usize, &mut u64, Found),
    ) -> Result<(), Failure> {
        let joined;
        let mut rest = if self.held.is_empty() {
            bytes
        } else {
            self.held.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.held);
            &joined
        };
        while let Some(frame) = Frame::take(&mut rest) {
            self.accept(&frame, run, found)?;
        }
        self.held.extend_from_slice(rest);
        Ok(())
    }

    fn accept(
        &mut self,
        frame: &Frame<'_>,
        run: &Run,
        found: &mut impl FnMut(usize, &mut u64, Found),
    ) -> Result<(), Failure> {
        match frame.kind {
            DATA => self.data(frame, run, found)?,
            HEADERS => {
                self.stream(frame.stream)?;
                if !is_ok(frame.unpadded()?) {
                    return Err(Failure::Refused);
                }
                self.open += 1;
            }
            SETTINGS if frame.flags & ACK == 0 => {
                write_frame(&mut self.outgoing, SETTINGS, ACK, 0, &[]);
            }
            PING if frame.flags & ACK == 0 => {
                write_frame(&mut self.outgoing, PING, ACK, 0, frame.payload);
            }
            RST_STREAM | GOAWAY => return Err(Failure::Ended),
            _ => {}
        }
        let ends = matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0;
        if ends { Err(Failure::Ended) } else { Ok(()) }
    }

    fn data(
        &mut self,
        frame: &Frame<'_>,
        run: &Run,
        found: &mut impl FnMut(usize, &mut u64, Found),
    ) -> Result<(), Failure> {
        // A payload has less than 2^24 bytes.
        let length = frame.payload.len() as u32;
        let stream = self.stream(frame.stream)?;
        let (scanner, next) = (&mut stream.scanner, &mut stream.next);
        scanner
            .feed(frame.unpadded()?, run, None, |it| found(place(frame.stream), next, it))
            .map_err(|_| Failure::Invalid)?;
        stream.received += length;
        let full = (stream.received > MAX_WINDOW / 2).then(|| std::mem::take(&mut stream.received));
        if let Some(received) = full {
            update_window(&mut self.outgoing, frame.stream, received);
        }
        self.received += length;
        if self.received > MAX_WINDOW / 2 {
            update_window(&mut self.outgoing, 0, std::mem::take(&mut self.received));
        }
        Ok(())
    }

    fn stream(&mut self, id: u32) -> Result<&mut Stream, Failure> {
        self.streams.get_mut(place(id)).filter(|_| id % 2 == 1).ok_or(Failure::Invalid)
    }
}

impl Stream {
    fn new() -> Self {
        Self { scanner: Scanner::new(Framing::Plain), next: 1, received: 0 }
    }
}

impl<'a> Frame<'a> {
    /// Takes a frame off the front, if it is whole.
    fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let [a, b, c, kind, flags, stream @ ..] = bytes.first_chunk::<HEAD>()?;
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let payload = bytes.get(HEAD..HEAD + length)?;
        *bytes = &bytes[HEAD + length..];
        let stream = u32::from_be_bytes(*stream) & MAX_WINDOW;
        Some(Self { kind: *kind, flags: *flags, stream, payload })
    }

    /// The payload of DATA or HEADERS without padding and priority.
    fn unpadded(&self) -> Result<&'a [u8], Failure> {
        let mut payload = self.payload;
        if self.flags & PADDED != 0 {
            let (padding, rest) = payload.split_first().ok_or(Failure::Invalid)?;
            let end = rest.len().checked_sub((*padding).into()).ok_or(Failure::Invalid)?;
            payload = &rest[..end];
        }
        if self.kind == HEADERS && self.flags & PRIORITY != 0 {
            payload = payload.get(5..).ok_or(Failure::Invalid)?;
        }
        Ok(payload)
    }
}

/// Whether the status is 200. A server may change the size of its table of headers first (RFC 7541,
/// section 6.3).
fn is_ok(headers: &[u8]) -> bool {
    headers.iter().find(|byte| !(0x20..0x3f).contains(*byte)) == Some(&STATUS_200)
}

/// The ID of a client's stream.
fn id(place: u32) -> u32 {
    2 * place + 1
}

fn place(id: u32) -> usize {
    (id / 2) as usize
}

fn write_frame(outgoing: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    // The payloads here are short.
    let length = (payload.len() as u32).to_be_bytes();
    outgoing.extend_from_slice(&length[1..]);
    outgoing.extend_from_slice(&[kind, flags]);
    outgoing.extend_from_slice(&stream.to_be_bytes());
    outgoing.extend_from_slice(payload);
}

fn update_window(outgoing: &mut Vec<u8>, stream: u32, by: u32) {
    write_frame(outgoing, WINDOW_UPDATE, 0, stream, &by.to_be_bytes());
}

/// The headers in HPACK, with names of the static table and literal values (RFC 7541).
fn request(scheme: &str, authority: &str, path: &str) -> Vec<u8> {
    // `:method GET`; `:scheme http` or `https`.
    let mut headers = vec![0x82, if scheme == "https" { 0x87 } else { 0x86 }];
    // `:path`, `:authority` and `accept`, the last with an index of two bytes.
    for (name, value) in
        [(&[0x04][..], path), (&[0x01], authority), (&[0x0f, 0x04], "text/event-stream")]
    {
        headers.extend_from_slice(name);
        write_length(&mut headers, value.len());
        headers.extend_from_slice(value.as_bytes());
    }
    headers
}

/// An integer with a prefix of seven bits (RFC 7541, section 5.1).
fn write_length(headers: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else {
        return headers.push(length as u8);
    };
    headers.push(127);
    while rest >= 128 {
        headers.push((rest % 128) as u8 | 0x80);
        rest /= 128;
    }
    headers.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mark::Mark;

    fn streams() -> Streams {
        let mut streams = Streams::new("http", "hub.test", &["/a".into(), "/b".into()]);
        streams.outgoing.clear();
        streams
    }

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, kind, flags, stream, payload);
        bytes
    }

    fn event(run: &Run, number: u64) -> Vec<u8> {
        let mut data = b"data: ".to_vec();
        run.write(&Mark { topic: 0, number, sent: 9 }, &mut data);
        data.extend_from_slice(b"\n\n");
        data
    }

    #[test]
    fn events_of_both_streams_are_found_however_the_bytes_are_split() {
        let run = Run::new(7, 40);
        let padded = [&[3][..], &event(&run, 2), &[0; 3]].concat();
        let all = [
            frame(SETTINGS, 0, 0, &[]),
            frame(HEADERS, END_HEADERS, 1, &[STATUS_200]),
            frame(HEADERS, END_HEADERS, 3, &[0x20, STATUS_200, 0x40]),
            frame(DATA, 0, 1, &event(&run, 1)),
            frame(DATA, PADDED, 3, &padded),
            frame(PING, 0, 0, &[1; 8]),
        ]
        .concat();
        for split in 0..all.len() {
            let (mut streams, mut found) = (streams(), Vec::new());
            let mut find = |stream, _: &mut u64, it| found.push((stream, it));
            streams.feed(&all[..split], &run, &mut find).unwrap();
            streams.feed(&all[split..], &run, &mut find).unwrap();
            let mark = |number| Found::Event(Mark { topic: 0, number, sent: 9 });
            assert_eq!(found, [(0, mark(1)), (1, mark(2))], "split at {split}");
            assert_eq!(streams.open(), 2);
            let answers = [frame(SETTINGS, ACK, 0, &[]), frame(PING, ACK, 0, &[1; 8])].concat();
            assert_eq!(streams.outgoing, answers);
        }
    }

    #[test]
    fn ends_refusals_and_invalid_frames_are_told_apart() {
        let fails =
            |bytes: &[u8]| streams().feed(bytes, &Run::new(7, 40), &mut |_, _, _| ()).unwrap_err();
        assert_eq!(fails(&frame(GOAWAY, 0, 0, &[0; 8])), Failure::Ended);
        assert_eq!(fails(&frame(DATA, END_STREAM, 1, &[])), Failure::Ended);
        assert_eq!(fails(&frame(HEADERS, END_HEADERS, 1, &[0x8d])), Failure::Refused);
        assert_eq!(fails(&frame(DATA, 0, 5, b"x")), Failure::Invalid);
        assert_eq!(fails(&frame(DATA, PADDED, 1, &[2, 0])), Failure::Invalid);
    }

    #[test]
    fn lengths_of_any_size_are_written() {
        let written = |length| {
            let mut headers = Vec::new();
            write_length(&mut headers, length);
            headers
        };
        assert_eq!(written(126), [126]);
        assert_eq!(written(127), [127, 0]);
        assert_eq!(written(1337 + 96), [127, 0x9a, 10]);
    }
}
