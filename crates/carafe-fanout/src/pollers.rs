//! The two pollers that report about a socket.

use std::io;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

/// A socket is registered with one of two pollers: with the shard's own if its readiness matters at
/// once, else with the [hangup poller](crate::hangup_poller).
pub(crate) struct Pollers {
    /// The shard's own poller.
    pub(crate) prompt: Registry,
    /// The poller of clients that have taken all that was sent.
    pub(crate) hangup: Registry,
}

impl Pollers {
    /// Moves the socket to the shard's own poller, which reports readiness immediately.
    pub(crate) fn promptly(
        &self,
        socket: &mut TcpStream,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        // Fails if the socket is registered with the other poller. Asking the kernel is cheaper
        // than a flag for each client.
        if self.prompt.reregister(socket, token, interest).is_ok() {
            return Ok(());
        }
        self.hangup.deregister(socket)?;
        self.prompt.register(socket, token, interest)
    }
}
