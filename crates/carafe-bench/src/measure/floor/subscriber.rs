//! A subscriber of the floor: a socket, and what it did not take.

use std::io::{self, Read, Write};

use mio::net::TcpStream;

pub(crate) struct Subscriber {
    socket: TcpStream,
    /// The number of its topic.
    pub(super) topic: u32,
    /// Nothing, as long as the other end reads.
    left: Vec<u8>,
}

impl Subscriber {
    pub(crate) fn new(socket: TcpStream, topic: u32) -> Self {
        Self { socket, topic, left: Vec::new() }
    }

    /// A broken socket reports that by an event.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let written = if self.left.is_empty() { self.socket.write(bytes).unwrap_or(0) } else { 0 };
        self.left.extend_from_slice(&bytes[written..]);
    }

    /// Looks after the socket: writes what is left; what a subscriber sends says nothing.
    pub(crate) fn is_alive(&mut self) -> bool {
        if !self.left.is_empty()
            && let Ok(written) = self.socket.write(&self.left)
        {
            self.left.drain(..written);
        }
        match self.socket.read(&mut [0; 1024]) {
            Ok(read) => read > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}
