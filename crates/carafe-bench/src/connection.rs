//! One connection: it asks for a stream, and reads it.

use std::fmt;
use std::io::{self, Read, Write};

use mio::net::TcpStream;

use crate::answer::{Answer, Body};
use crate::framing::Framing;
use crate::mark::Run;
use crate::scanner::{Found, LastEventId, Scanner};

/// A head that is longer than this is none.
const HEAD: usize = 16 << 10;

/// A connection, which costs little while nothing happens on it: a run may have very many.
pub(crate) struct Connection {
    state: State,
    /// The number of the event that comes next.
    pub(crate) next: u64,
    /// Kept only by runs that resume.
    pub(crate) id: Option<Box<LastEventId>>,
    /// Milliseconds to wait before reconnecting, as the server said.
    pub(crate) retry: u32,
    /// When the connection was lost or left, by the monotonic clock; 0 before the first one.
    pub(crate) left: u64,
}

enum State {
    Closed,
    /// Waits until it is connected.
    Opening(TcpStream),
    /// Waits for the head of the answer.
    Asked(TcpStream, Vec<u8>),
    Open(TcpStream, Scanner),
    /// Does not read.
    Stalled(TcpStream),
}

/// What came of looking after a connection.
#[derive(Default)]
pub(crate) struct Happened {
    /// The answer is a stream.
    pub(crate) opened: bool,
    /// The connection is gone.
    pub(crate) lost: Option<Loss>,
}

pub(crate) enum Loss {
    /// There is no connection to be had.
    Unreachable(io::Error),
    /// The answer is no stream.
    Refused(String),
    /// The server has ended the stream.
    Ended,
    /// It broke.
    Broken(String),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "cannot connect: {error}"),
            Self::Refused(answer) => {
                let answer = answer.split_whitespace().collect::<Vec<_>>().join(" ");
                write!(f, "the answer is no event stream: {answer}")
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

    pub(crate) fn open(&mut self, socket: TcpStream) {
        self.state = State::Opening(socket);
    }

    /// Closes the socket, which leaves the poll with that.
    pub(crate) fn close(&mut self) {
        self.state = State::Closed;
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(..))
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
            | State::Stalled(socket) => Some(socket),
        }
    }

    /// Stops reading, and keeps the connection.
    pub(crate) fn stall(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Closed) {
            State::Open(socket, _) => State::Stalled(socket),
            other => other,
        };
    }

    /// The socket can be written for the first time: it is connected, or cannot be.
    pub(crate) fn connected(&mut self, request: impl FnOnce(&Self) -> Vec<u8>) -> Result<(), Loss> {
        let State::Opening(socket) = &mut self.state else {
            return Ok(());
        };
        if let Ok(Some(error)) | Err(error) = socket.take_error() {
            return Err(Loss::Unreachable(error));
        }
        if socket.peer_addr().is_err() {
            return Ok(());
        }
        let request = request(self);
        if let State::Opening(mut socket) = std::mem::replace(&mut self.state, State::Closed) {
            // A request fits into the buffer of a new socket.
            let written = socket.write_all(&request);
            self.state = State::Asked(socket, Vec::new());
            written.map_err(Loss::Unreachable)?;
        }
        Ok(())
    }

    /// Reads all that is there.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        run: &Run,
        mut found: impl FnMut(&mut u64, Found),
    ) -> Happened {
        let mut happened = Happened::default();
        let was_open = self.is_open();
        happened.lost = self.read_all(buffer, run, &mut found).err();
        happened.opened = !was_open && self.is_open();
        happened
    }

    fn read_all(
        &mut self,
        buffer: &mut [u8],
        run: &Run,
        found: &mut impl FnMut(&mut u64, Found),
    ) -> Result<(), Loss> {
        while let State::Asked(socket, _) | State::Open(socket, _) = &mut self.state {
            let read = match socket.read(buffer) {
                Ok(0) => return Err(self.end()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Loss::Broken(error.to_string())),
            };
            self.take(&buffer[..read], run, found)?;
            // A stream socket that gives less than was asked for has no more: epoll(7), "Questions
            // and answers".
            if read < buffer.len() {
                break;
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        bytes: &[u8],
        run: &Run,
        found: &mut impl FnMut(&mut u64, Found),
    ) -> Result<(), Loss> {
        let State::Asked(_, head) = &mut self.state else {
            return self.scan(bytes, run, found);
        };
        head.extend_from_slice(bytes);
        match self.answer()? {
            Some(body) => self.scan(&body, run, found),
            None => Ok(()),
        }
    }

    /// The head of the answer, if it is whole: what of the body came with it.
    fn answer(&mut self) -> Result<Option<Vec<u8>>, Loss> {
        let State::Asked(_, head) = &mut self.state else {
            return Ok(None);
        };
        let answer = Answer::read(head).map_err(|error| Loss::Broken(error.to_string()))?;
        let Some(answer) = answer else {
            let too_long = || Loss::Broken("the head of the answer does not end".into());
            return if head.len() > HEAD { Err(too_long()) } else { Ok(None) };
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
        found: &mut impl FnMut(&mut u64, Found),
    ) -> Result<(), Loss> {
        let Self { state: State::Open(_, scanner), next, retry, id, .. } = self else {
            return Ok(());
        };
        let fed = scanner.feed(bytes, run, id.as_deref_mut(), |it| match it {
            Found::Retry(milliseconds) => *retry = milliseconds,
            it => found(next, it),
        });
        fed.map_err(|_| Loss::Broken("the body's chunks are not framed as HTTP says".into()))?;
        if scanner.is_ended() { Err(Loss::Ended) } else { Ok(()) }
    }

    fn end(&self) -> Loss {
        match &self.state {
            State::Asked(_, head) if head.is_empty() => {
                Loss::Broken("closed before an answer came".into())
            }
            State::Asked(_, head) => Loss::Refused(String::from_utf8_lossy(head).into_owned()),
            _ => Loss::Ended,
        }
    }
}
