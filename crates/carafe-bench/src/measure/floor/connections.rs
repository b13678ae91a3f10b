//! The connections of the floor, by token.

use std::io::{self, Read};

use mio::net::TcpStream;

use super::subscriber::Subscriber;

#[derive(Default)]
pub(super) struct Connections {
    all: Vec<Option<Connection>>,
    free: Vec<usize>,
}

/// A subscriber keeps nothing of its request.
pub(super) enum Connection {
    Asking(Box<Asking>),
    Subscribed(Subscriber),
}

/// A connection that asks or publishes.
pub(super) struct Asking {
    pub(super) socket: TcpStream,
    /// The start of an incomplete request.
    pub(super) read: Vec<u8>,
}

impl Connections {
    /// A token that is free.
    pub(super) fn token(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.all.push(None);
            self.all.len() - 1
        })
    }

    pub(super) fn put(&mut self, token: usize, connection: Connection) {
        self.all[token] = Some(connection);
    }

    pub(super) fn get(&mut self, token: usize) -> Option<&mut Connection> {
        self.all[token].as_mut()
    }

    pub(super) fn asking(&mut self, token: usize) -> Option<&mut Asking> {
        match self.get(token) {
            Some(Connection::Asking(asking)) => Some(asking),
            _ => None,
        }
    }

    pub(super) fn take(&mut self, token: usize) -> Option<Connection> {
        self.all[token].take()
    }

    /// Closes a connection. Its token is used again.
    pub(super) fn close(&mut self, token: usize) -> Option<Connection> {
        self.free.push(token);
        self.take(token)
    }

    pub(super) fn write(&mut self, subscribers: &[u32], bytes: &[u8]) {
        for subscriber in subscribers {
            if let Some(Connection::Subscribed(subscriber)) = self.get(*subscriber as usize) {
                subscriber.write(bytes);
            }
        }
    }
}

impl Asking {
    /// Reads what has arrived. Returns whether the other end is still there.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> bool {
        loop {
            let read = match self.socket.read(buffer) {
                Ok(0) => return false,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            };
            self.read.extend_from_slice(&buffer[..read]);
            // A short read means that the socket is drained: epoll(7), "Questions and answers".
            if read < buffer.len() {
                return true;
            }
        }
    }
}
