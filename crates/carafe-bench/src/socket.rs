//! A non-blocking TCP connection, plain or with TLS.

use std::io::{self, Read, Write};

use mio::net::TcpStream;

use crate::tls;

pub(crate) enum Socket {
    Plain(TcpStream),
    Tls(Box<tls::Session>),
}

impl Socket {
    /// `tls` is set for https.
    pub(crate) fn new(socket: TcpStream, tls: Option<&tls::Client>) -> io::Result<Self> {
        Ok(match tls {
            None => Self::Plain(socket),
            Some(client) => Self::Tls(Box::new(client.open(socket)?)),
        })
    }

    pub(crate) fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(session) => session.tcp(),
        }
    }

    /// Whether a read that does not fill the buffer means that nothing is left: epoll(7),
    /// "Questions and answers". A TLS record can be shorter than the buffer.
    pub(crate) fn is_drained_by_short_read(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(session) => session.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(session) => session.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
