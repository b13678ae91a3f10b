//! The connection on which events are published, with one POST each or in one that stays open.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::error::Error;

use crate::answer::{Answer, Body};
use crate::framing::Framing;
use crate::plan::Plan;
use crate::socket::Socket;
use crate::target::Target;

/// The pause before reconnecting.
const PAUSE: Duration = Duration::from_millis(100);

/// A pipelining publisher: it does not wait for a response before the next request.
pub(crate) struct Publisher {
    target: Target,
    registry: Registry,
    token: Token,
    /// Whether to reconnect after a failure.
    resumes: bool,
    socket: Option<Socket>,
    /// Requests without a response, the oldest first.
    requests: VecDeque<Vec<u8>>,
    /// Bytes of requests that are not written yet.
    outgoing: Vec<u8>,
    /// Whether any byte of the requests has been written on this connection.
    touched: bool,
    again: Option<Instant>,
    incoming: Vec<u8>,
    body: Option<Body>,
    closes: bool,
    /// Whether events are sent over an open request, and whether it has begun.
    ingest: Option<Begun>,
}

/// Whether an open request has begun.
struct Begun(bool);

impl Publisher {
    pub(crate) fn new(plan: &Plan, registry: Registry, token: Token) -> Self {
        Self {
            target: plan.publish.clone(),
            registry,
            token,
            resumes: plan.resumes,
            socket: None,
            requests: VecDeque::new(),
            outgoing: Vec::new(),
            touched: false,
            again: None,
            incoming: Vec::new(),
            body: None,
            closes: false,
            ingest: plan.ingest.then_some(Begun(false)),
        }
    }

    /// The number of requests without a response.
    pub(crate) fn unanswered(&self) -> usize {
        self.requests.len()
    }

    /// When to reconnect.
    pub(crate) fn next_try(&self) -> Option<Instant> {
        self.again
    }

    /// Queues a request; call `flush` afterwards.
    pub(crate) fn publish(&mut self, topic: usize, media_type: &str, body: &[u8]) {
        if let Some(Begun(begun)) = &mut self.ingest {
            if !std::mem::replace(begun, true) {
                self.outgoing.extend(self.target.open_post(topic));
            }
            return put_event(body, &mut self.outgoing);
        }
        let request = self.target.post(topic, media_type, body);
        self.outgoing.extend_from_slice(&request);
        self.requests.push_back(request);
    }

    /// Writes until the socket is full.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        if self.requests.is_empty() && self.outgoing.is_empty()
            || self.again.is_some_and(|again| again > Instant::now())
        {
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
        // Nagle's algorithm would delay a request until the previous one is acknowledged.
        socket.set_nodelay(true)?;
        self.socket = Some(Socket::new(socket, self.target.tls.as_ref())?);
        Ok(())
    }

    /// Handles readiness of the socket.
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
            // The server does not answer the requests after this one: they are sent on a new
            // connection.
            if std::mem::take(&mut self.closes) {
                self.leave();
            }
        }
        Ok(())
    }

    /// Parses the head of the next response, and checks its status.
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
        if let Some(mut socket) = self.socket.take() {
            let _ = socket.tcp().shutdown(Shutdown::Both);
        }
        (self.body, self.touched) = (None, false);
        self.incoming.clear();
        self.outgoing = self.requests.iter().flatten().copied().collect();
    }

    /// Handles the end of the connection. Without requests it is harmless. With requests that were
    /// partly written, it is unknown which events were published, so the run fails. Requests that
    /// were never written are sent again.
    fn broken(&mut self, error: &io::Error) -> Result<(), Error> {
        let is_idle = self.requests.is_empty() && self.ingest.is_none();
        let harmless = is_idle || self.resumes && !self.touched;
        self.leave();
        if harmless {
            self.again = (!self.requests.is_empty()).then(|| Instant::now() + PAUSE);
            return Ok(());
        }
        let address = self.target.address;
        Err(Error::Failed(match error.kind() {
            io::ErrorKind::PermissionDenied => format!("{address} rejected an event: {error}"),
            io::ErrorKind::UnexpectedEof => {
                format!("{address} closed the connection without a response to an event")
            }
            _ => format!("cannot publish to {address}: {error}"),
        }))
    }
}

/// Appends a chunk of an open body that is an event with this data.
fn put_event(data: &[u8], out: &mut Vec<u8>) {
    const DATA: &[u8] = b"data: ";
    const END: &[u8] = b"\n\n";
    out.extend(format!("{:x}\r\n", DATA.len() + data.len() + END.len()).into_bytes());
    for part in [DATA, data, END, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Whether the chunked body is complete.
fn read_chunks(framing: &mut Framing, incoming: &mut Vec<u8>) -> io::Result<bool> {
    let length = incoming.len();
    let mut input = &incoming[..];
    while !framing.is_ended()
        && let Some(_) = framing
            .next(&mut input)
            .map_err(|_| io::Error::other("the response to a POST has invalid chunked framing"))?
    {
    }
    let read = length - input.len();
    incoming.drain(..read);
    Ok(framing.is_ended())
}

fn is_not_yet(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, NotConnected, WouldBlock};
    matches!(error.kind(), Interrupted | NotConnected | WouldBlock)
}
