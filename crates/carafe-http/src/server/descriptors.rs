//! The limit on the file descriptors of connections.

use std::net::TcpStream;
use std::os::fd::AsRawFd;

/// The number of descriptors that connections may use.
pub(crate) struct Descriptors {
    /// From this number on, idle connections give way to new ones.
    short: u64,
    all: u64,
}

/// How much room the limit leaves for a new connection.
#[derive(PartialEq, Eq)]
pub(crate) enum Room {
    Enough,
    Little,
    None,
}

impl Descriptors {
    pub(crate) fn of(all: Option<u64>) -> Self {
        let all = all.unwrap_or(u64::MAX);
        // A closed connection keeps its descriptor until its task has run, so room is made early.
        Self { short: all - (all / 16).clamp(1, 256), all }
    }

    /// The system assigns the lowest free descriptor (POSIX `accept`). So the number of the newest
    /// tells how many are in use, without a count of our own.
    pub(crate) fn room(&self, newest: &TcpStream) -> Room {
        match u64::try_from(newest.as_raw_fd()).unwrap_or_default() {
            descriptor if descriptor >= self.all => Room::None,
            descriptor if descriptor >= self.short => Room::Little,
            _ => Room::Enough,
        }
    }
}
