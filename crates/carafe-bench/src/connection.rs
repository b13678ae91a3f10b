//! One connection: requests a stream, or several over HTTP/2, and reads them.

use std::fmt;
use std::io::{self, Read, Write};

use mio::net::TcpStream;

use crate::answer::{Answer, Body};
use crate::framing::Framing;
use crate::http2::{Failure, Streams};
use crate::mark::Run;
use crate::scanner::{Found, LastEventId, Scanner};
use crate::socket::Socket;

/// The longest response head.
const MAX_HEAD: usize = 16 << 10;

/// A connection. It is small while idle, because a run may have a million; a test bounds its size.
pub(crate) struct Connection {
    state: State,
    /// The number of the next event.
    pub(crate) next: u64,
    /// The last event ID, only in runs that resume.
    pub(crate) id: Option<Box<LastEventId>>,
    /// Milliseconds to wait before reconnecting, as set by the server.
    pub(crate) retry: u32,
    /// When the previous stream ended, by the monotonic clock; 0 before the first stream.
    pub(crate) left: u64,
}

enum State {
    Closed,
    /// The TCP connection is being established.
    Opening(Socket),
    /// The request is sent; the head of the response has not arrived.
    Asked(Socket, Vec<u8>),
    Open(Socket, Scanner),
    /// Open, and no longer read.
    Stalled(Socket),
    /// HTTP/2.
    Multiplexed(Socket, Box<Streams>),
}

/// What a connection sends first.
pub(crate) enum Request {
    Http1(Vec<u8>),
    Http2(Box<Streams>),
}

/// The result of reading from a connection.
#[derive(Default)]
pub(crate) struct Happened {
    /// The number of streams that have opened.
    pub(crate) opened: usize,
    /// The stream has ended.
    pub(crate) lost: Option<Loss>,
}

pub(crate) enum Loss {
    /// The connection cannot be established.
    Unreachable(io::Error),
    /// The response is not a stream.
    Refused(String),
    /// The server ended the stream.
    Ended,
    /// The connection failed.
    Broken(String),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "cannot connect: {error}"),
            Self::Refused(answer) => {
                let answer = answer.split_whitespace().collect::<Vec<_>>().join(" ");
                write!(f, "the response is not an event stream: {answer}")
            }
            Self::Ended => f.write_str("the server ended the stream"),
            Self::Broken(reason) => f.write_str(reason),
        }
    }
}

impl Connection {
    pub(crate) fn new(resumes: bool) -> Self {
        let id = resumes.then(Box::default);
        Self { state: State::Closed, next: 1, id, retry: 3000, left: 0 }
    }

    pub(crate) fn open(&mut self, socket: Socket) {
        self.state = State::Opening(socket);
    }

    /// Closes the socket, which also deregisters it.
    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open_streams() > 0
    }

    pub(crate) fn open_streams(&self) -> usize {
        match &self.state {
            State::Open(..) => 1,
            State::Multiplexed(_, streams) => streams.open(),
            _ => 0,
        }
    }

    /// For each stream, the number of the next event.
    pub(crate) fn next_numbers(&self) -> Vec<u64> {
        match &self.state {
            State::Multiplexed(_, streams) => streams.next_numbers().collect(),
            _ => vec![self.next],
        }
    }

    pub(crate) fn is_stalled(&self) -> bool {
        matches!(self.state, State::Stalled(_))
    }

    pub(crate) fn socket_mut(&mut self) -> Option<&mut TcpStream> {
        match &mut self.state {
            State::Closed => None,
            State::Opening(socket)
            | State::Asked(socket, _)
            | State::Open(socket, _)
            | State::Stalled(socket)
            | State::Multiplexed(socket, _) => Some(socket.tcp()),
        }
    }

    /// Stops reading, and keeps the connection open.
    pub(crate) fn stall(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Closed) {
            State::Open(socket, _) => State::Stalled(socket),
            other => other,
        };
    }

    /// Sends the request once the socket is writable for the first time: the connection is
    /// established, or has failed.
    pub(crate) fn connected(&mut self, request: impl FnOnce(&Self) -> Request) -> Result<(), Loss> {
        let State::Opening(socket) = &mut self.state else {
            return Ok(());
        };
        let socket = socket.tcp();
        if let Ok(Some(error)) | Err(error) = socket.take_error() {
            return Err(Loss::Unreachable(error));
        }
        if socket.peer_addr().is_err() {
            return Ok(());
        }
        let request = request(self);
        if let State::Opening(socket) = std::mem::replace(&mut self.state, State::Closed) {
            self.ask(socket, request).map_err(Loss::Unreachable)?;
        }
        Ok(())
    }

    /// Requests fit into the send buffer of a new socket.
    fn ask(&mut self, mut socket: Socket, request: Request) -> io::Result<()> {
        let written;
        (written, self.state) = match request {
            Request::Http1(request) => {
                (socket.write_all(&request), State::Asked(socket, Vec::new()))
            }
            Request::Http2(mut streams) => {
                let written = socket.write_all(&std::mem::take(&mut streams.outgoing));
                (written, State::Multiplexed(socket, streams))
            }
        };
        written
    }

    /// Reads everything that has arrived. `found` gets the place of the stream in the connection.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        run: &Run,
        mut found: impl FnMut(usize, &mut u64, Found),
    ) -> Happened {
        let were_open = self.open_streams();
        let lost = self.read_all(buffer, run, &mut found).err();
        Happened { opened: self.open_streams() - were_open, lost }
    }

    fn read_all(
        &mut self,
        buffer: &mut [u8],
        run: &Run,
        found: &mut impl FnMut(usize, &mut u64, Found),
    ) -> Result<(), Loss> {
        while let State::Asked(socket, _) | State::Open(socket, _) | State::Multiplexed(socket, _) =
            &mut self.state
        {
            let is_drained_by_short_read = socket.is_drained_by_short_read();
            let read = match socket.read(buffer) {
                Ok(0) => return Err(self.end()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Loss::Broken(error.to_string())),
            };
            self.take(&buffer[..read], run, found)?;
            if is_drained_by_short_read && read < buffer.len() {
                break;
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        bytes: &[u8],
        run: &Run,
        found: &mut impl FnMut(usize, &mut u64, Found),
    ) -> Result<(), Loss> {
        let head = match &mut self.state {
            State::Asked(_, head) => head,
            State::Multiplexed(socket, streams) => {
                streams.feed(bytes, run, found)?;
                return answer_frames(socket, &mut streams.outgoing);
            }
            _ => return self.scan(bytes, run, found),
        };
        head.extend_from_slice(bytes);
        match self.answer()? {
            Some(body) => self.scan(&body, run, found),
            None => Ok(()),
        }
    }

    /// Parses the head of the response. Returns the part of the body that arrived with it, or
    /// `None` if the head is incomplete.
    fn answer(&mut self) -> Result<Option<Vec<u8>>, Loss> {
        let State::Asked(_, head) = &mut self.state else {
            return Ok(None);
        };
        let answer = Answer::read(head).map_err(|error| Loss::Broken(error.to_string()))?;
        let Some(answer) = answer else {
            let too_long = || Loss::Broken("the head of the response is too long".into());
            return if head.len() > MAX_HEAD { Err(too_long()) } else { Ok(None) };
        };
        if answer.status != 200 || !answer.is_event_stream {
            return Err(Loss::Refused(String::from_utf8_lossy(head).into_owned()));
        }
        let framing = match answer.body {
            Body::Framed(framing) => framing,
            Body::Length(_) => Framing::Plain,
        };
        let body = head.split_off(answer.length);
        if let State::Asked(socket, _) = std::mem::replace(&mut self.state, State::Closed) {
            self.state = State::Open(socket, Scanner::new(framing));
        }
        Ok(Some(body))
    }

    fn scan(
        &mut self,
        bytes: &[u8],
        run: &Run,
        found: &mut impl FnMut(usize, &mut u64, Found),
    ) -> Result<(), Loss> {
        let Self { state: State::Open(_, scanner), next, retry, id, .. } = self else {
            return Ok(());
        };
        let fed = scanner.feed(bytes, run, id.as_deref_mut(), |it| match it {
            Found::Retry(milliseconds) => *retry = milliseconds,
            it => found(0, next, it),
        });
        fed.map_err(|_| Loss::Broken("the body has invalid chunked framing".into()))?;
        if scanner.is_ended() { Err(Loss::Ended) } else { Ok(()) }
    }

    fn end(&self) -> Loss {
        match &self.state {
            State::Asked(_, head) if head.is_empty() => {
                Loss::Broken("the server closed the connection before it responded".into())
            }
            State::Asked(_, head) => Loss::Refused(String::from_utf8_lossy(head).into_owned()),
            _ => Loss::Ended,
        }
    }
}

/// Writes acknowledgements and window updates, which are few and short.
fn answer_frames(socket: &mut Socket, outgoing: &mut Vec<u8>) -> Result<(), Loss> {
    if outgoing.is_empty() {
        return Ok(());
    }
    let written = socket.write_all(outgoing);
    outgoing.clear();
    written.map_err(|error| Loss::Broken(error.to_string()))
}

impl From<Failure> for Loss {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Ended => Self::Ended,
            Failure::Refused => Self::Refused("HTTP/2 with a status other than 200".into()),
            Failure::Invalid => Self::Broken("the response has invalid HTTP/2 frames".into()),
        }
    }
}
