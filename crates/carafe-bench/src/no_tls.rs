//! Without the feature `tls` there are no TLS connections.

use std::io::{self, Read, Write};

use mio::net::TcpStream;

use crate::error::Error;

/// No value exists.
pub(crate) enum Trust {}

/// No value exists.
#[derive(Clone, Debug)]
pub(crate) enum Client {}

/// No value exists.
pub(crate) enum Session {}

impl Trust {
    pub(crate) fn client(&self, _host: &str) -> Result<Client, Error> {
        match *self {}
    }
}

impl Client {
    pub(crate) fn open(&self, _socket: TcpStream) -> io::Result<Session> {
        match *self {}
    }
}

impl Session {
    pub(crate) fn tcp(&mut self) -> &mut TcpStream {
        match *self {}
    }
}

impl Read for Session {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }
}

impl Write for Session {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        match *self {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match *self {}
    }
}
