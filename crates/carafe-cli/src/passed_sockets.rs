//! Listening sockets that a service manager has opened (systemd's socket activation).

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;

/// The first descriptor that a service manager passes: `SD_LISTEN_FDS_START` of sd_listen_fds(3).
const FIRST: u32 = 3;

/// The sockets that were passed to this process, until they are taken.
pub(crate) struct PassedSockets(ListenFd);

impl PassedSockets {
    /// Reads and removes `LISTEN_FDS` and `LISTEN_PID`. Call it before there are other threads,
    /// which could read the environment at the same time.
    pub(crate) fn from_environment() -> Self {
        Self(ListenFd::from_env())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// The descriptors of all sockets.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = u32> + use<> {
        (FIRST..).take(self.0.len())
    }

    /// The socket with this descriptor, if it is one of TCP.
    pub(crate) fn take_tcp(&mut self, descriptor: u32) -> Option<TcpListener> {
        self.0.take_tcp_listener(index(descriptor)?).ok()?
    }

    /// The socket with this descriptor, if it is a stream socket of a file.
    pub(crate) fn take_unix(&mut self, descriptor: u32) -> Option<UnixListener> {
        self.0.take_unix_listener(index(descriptor)?).ok()?
    }
}

fn index(descriptor: u32) -> Option<usize> {
    usize::try_from(descriptor.checked_sub(FIRST)?).ok()
}
