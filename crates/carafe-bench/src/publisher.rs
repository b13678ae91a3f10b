//! The connection that events are published on, each by one POST.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::error::Error;

use crate::answer::{Answer, Body};
use crate::framing::Framing;
use crate::target::Target;

/// How long to wait before the server is asked again for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Requests are pipelined: the server has them in order, and their answers are waited for by
/// nobody.
pub(crate) struct Publisher {
    target: Target,
    registry: Registry,
    token: Token,
    /// Whether to go on after the connection broke.
    resumes: bool,
    socket: Option<TcpStream>,
    /// Without an answer, the oldest first.
    requests: VecDeque<Vec<u8>>,
    /// What of them the socket does not have.
    outgoing: Vec<u8>,
    /// Whether it has anything of them.
    touched: bool,
    again: Option<Instant>,
    incoming: Vec<u8>,
    body: Option<Body>,
    closes: bool,
}

impl Publisher {
    pub(crate) fn new(target: Target, registry: Registry, token: Token, resumes: bool) -> Self {
        Self {
            target,
            registry,
            token,
            resumes,
            socket: None,
            requests: VecDeque::new(),
            outgoing: Vec::new(),
            touched: false,
            again: None,
            incoming: Vec::new(),
            body: None,
            closes: false,
        }
    }

    /// Events that the server has not said to have.
    pub(crate) fn unanswered(&self) -> usize {
        self.requests.len()
    }

    /// When a connection may be asked for again.
    pub(crate) fn next_try(&self) -> Option<Instant> {
        self.again
    }

    /// Publishes as soon as it can; `flush` must follow.
    pub(crate) fn publish(&mut self, topic: usize, media_type: &str, body: &[u8]) {
        let request = self.target.post(topic, media_type, body);
        self.outgoing.extend_from_slice(&request);
        self.requests.push_back(request);
    }

    /// Writes what the socket takes.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        if self.requests.is_empty() || self.again.is_some_and(|again| again > Instant::now()) {
            return Ok(());
        }
        self.again = None;
        self.write().or_else(|error| self.broken(&error))
    }

    fn write(&mut self) -> io::Result<()> {
        if self.socket.is_none() {
            self.connect()?;
        }
        while let Some(socket) = self.socket.as_mut().filter(|_| !self.outgoing.is_empty()) {
            match socket.write(&self.outgoing) {
                Ok(written) => {
                    self.touched = true;
                    self.outgoing.drain(..written);
                }
                Err(error) if is_not_yet(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn connect(&mut self) -> io::Result<()> {
        let mut socket = TcpStream::connect(self.target.address)?;
        self.registry.register(&mut socket, self.token, Interest::READABLE | Interest::WRITABLE)?;
        // Requests are written whole, and no later one is to wait for the answer to an earlier.
        socket.set_nodelay(true)?;
        self.socket = Some(socket);
        Ok(())
    }

    /// Something has happened on the socket.
    pub(crate) fn ready(&mut self) -> Result<(), Error> {
        match self.read() {
            Ok(()) => self.flush(),
            Err(error) => self.broken(&error),
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        while let Some(socket) = &mut self.socket {
            let read = match socket.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if is_not_yet(&error) => return Ok(()),
                Err(error) => return Err(error),
            };
            self.incoming.extend_from_slice(&buffer[..read]);
            self.answers()?;
        }
        Ok(())
    }

    fn answers(&mut self) -> io::Result<()> {
        while self.head()? && self.body_is_whole()? {
            self.body = None;
            self.requests.pop_front();
            self.touched = !self.requests.is_empty();
            // What was asked after it is not answered: it is asked again on a new connection.
            if std::mem::take(&mut self.closes) {
                self.leave();
            }
        }
        Ok(())
    }

    /// Whether an answer's head is there, and good.
    fn head(&mut self) -> io::Result<bool> {
        if self.body.is_some() {
            return Ok(true);
        }
        let answer = Answer::read(&self.incoming).map_err(io::Error::other)?;
        let Some(answer) = answer else { return Ok(false) };
        if !(200..300).contains(&answer.status) {
            let words = String::from_utf8_lossy(&self.incoming)
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, words));
        }
        self.incoming.drain(..answer.length);
        self.closes = answer.closes;
        self.body = Some(answer.body);
        Ok(true)
    }

    fn body_is_whole(&mut self) -> io::Result<bool> {
        match &mut self.body {
            Some(Body::Length(length)) => {
                let there = self.incoming.len().min(usize::try_from(*length).unwrap_or(usize::MAX));
                self.incoming.drain(..there);
                *length -= there as u64;
                Ok(*length == 0)
            }
            Some(Body::Framed(framing)) => read_chunks(framing, &mut self.incoming),
            None => Ok(false),
        }
    }

    fn leave(&mut self) {
        if let Some(socket) = self.socket.take() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        (self.body, self.touched) = (None, false);
        self.incoming.clear();
        self.outgoing = self.requests.iter().flatten().copied().collect();
    }

    /// A connection that rested may go. One that breaks with requests on it may have published them
    /// or not: that is no run to trust. One that never came about has taken nothing.
    fn broken(&mut self, error: &io::Error) -> Result<(), Error> {
        let harmless = self.requests.is_empty() || self.resumes && !self.touched;
        self.leave();
        if harmless {
            self.again = (!self.requests.is_empty()).then(|| Instant::now() + PAUSE);
            return Ok(());
        }
        let address = self.target.address;
        Err(Error::Failed(match error.kind() {
            io::ErrorKind::PermissionDenied => format!("{address} refused an event: {error}"),
            io::ErrorKind::UnexpectedEof => {
                format!("{address} closed the connection before an event was answered")
            }
            _ => format!("cannot publish to {address}: {error}"),
        }))
    }
}

/// Whether the last chunk has come. The answer to a POST that ends with the connection cannot be
/// told from one that broke.
fn read_chunks(framing: &mut Framing, incoming: &mut Vec<u8>) -> io::Result<bool> {
    let length = incoming.len();
    let mut input = &incoming[..];
    while !framing.is_ended()
        && let Some(_) = framing
            .next(&mut input)
            .map_err(|_| io::Error::other("the answer to a POST has bad chunks"))?
    {}
    let read = length - input.len();
    incoming.drain(..read);
    Ok(framing.is_ended())
}

fn is_not_yet(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, NotConnected, WouldBlock};
    matches!(error.kind(), Interrupted | NotConnected | WouldBlock)
}
