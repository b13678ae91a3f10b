//! A subscriber: a stream, which it resumes whenever it ends.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use carafe_protocol::{Decoder, Received};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::seen::Seen;
use crate::wire;

/// How long it waits before it reconnects. It ignores `retry`, to keep the run short.
const RETRY: Duration = Duration::from_millis(500);

/// How long it waits for the head of an answer.
const HEAD: Duration = Duration::from_secs(30);

pub(super) struct Subscriber {
    address: Ipv4Addr,
    target: String,
    pub(super) seen: Seen,
    decoder: Decoder,
    state: ConnectionState,
    pub(super) resumed: u64,
}

enum ConnectionState {
    /// Reconnects at this time.
    Away(Instant),
    /// The connection is being established.
    Connecting(TcpStream, Instant),
    /// Waits for the head, or reads.
    Open(TcpStream, Box<super::chunks::Chunks>, Instant),
}

impl Subscriber {
    pub(super) fn new(address: Ipv4Addr, target: String, seen: Seen) -> Self {
        let state = ConnectionState::Away(Instant::now());
        Self { address, target, seen, decoder: Decoder::new(), state, resumed: 0 }
    }

    /// Whether it has the head of its stream.
    pub(super) fn is_open(&self) -> bool {
        matches!(&self.state, ConnectionState::Open(_, chunks, _) if chunks.has_begun())
    }

    /// Connects if it is time to, and gives up a response that does not arrive.
    pub(super) fn look(
        &mut self,
        hub: SocketAddr,
        registry: &Registry,
        token: Token,
    ) -> io::Result<()> {
        let now = Instant::now();
        let is_late = match &self.state {
            ConnectionState::Away(until) if now >= *until => {
                return self.connect(hub, registry, token);
            }
            ConnectionState::Away(_) => false,
            ConnectionState::Connecting(_, since) => now > *since + HEAD,
            ConnectionState::Open(_, chunks, since) => !chunks.has_begun() && now > *since + HEAD,
        };
        if is_late {
            self.leave();
        }
        Ok(())
    }

    fn connect(&mut self, hub: SocketAddr, registry: &Registry, token: Token) -> io::Result<()> {
        match wire::begin_to_connect(self.address, hub) {
            Ok(stream) => {
                let mut stream = TcpStream::from_std(stream);
                registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
                self.state = ConnectionState::Connecting(stream, Instant::now());
            }
            Err(_) => self.leave(),
        }
        Ok(())
    }

    /// Ends the stream. It will be resumed.
    pub(super) fn leave(&mut self) {
        if self.is_open() {
            self.resumed += 1;
            self.decoder.next_stream();
        }
        self.state = ConnectionState::Away(Instant::now() + RETRY);
    }

    /// The socket can be written, or read.
    pub(super) fn ready(&mut self, buffer: &mut [u8]) {
        if let ConnectionState::Connecting(stream, _) = &mut self.state {
            match stream.peer_addr() {
                Ok(_) => self.ask(),
                Err(error)
                    if error.kind() == ErrorKind::NotConnected
                        && stream.take_error().ok().flatten().is_none() => {}
                Err(_) => self.leave(),
            }
        }
        if matches!(self.state, ConnectionState::Open(..)) && !self.read(buffer).unwrap_or(false) {
            self.leave();
        }
    }

    fn ask(&mut self) {
        let ConnectionState::Connecting(stream, _) = &mut self.state else { return };
        let id = self.decoder.last_event_id();
        let headers = if id.is_empty() { vec![] } else { vec![("Last-Event-ID", id)] };
        let request = wire::get(&self.target, &headers);
        // A new socket has room for it.
        if !stream.write(request.as_bytes()).is_ok_and(|written| written == request.len()) {
            return self.leave();
        }
        if let ConnectionState::Connecting(stream, _) =
            std::mem::replace(&mut self.state, ConnectionState::Away(Instant::now()))
        {
            self.state = ConnectionState::Open(stream, Box::default(), Instant::now());
        }
    }

    /// Reads everything that has arrived. Returns whether the stream is still open.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let Self { seen, decoder, state, .. } = self;
        let ConnectionState::Open(stream, chunks, _) = state else { return Ok(true) };
        loop {
            let count = match stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => count,
                Err(error) => return Ok(error.kind() == ErrorKind::WouldBlock),
            };
            chunks.push(&buffer[..count], |mut content| {
                while let Ok(Some(received)) = decoder.decode(&mut content) {
                    if let Received::Event(event) = received {
                        seen.take(&event);
                    }
                }
            })?;
            if chunks.has_ended() {
                return Ok(false);
            }
        }
    }
}
