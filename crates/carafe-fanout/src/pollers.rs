//! Which poller tells of a socket.

use std::io;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

/// The pollers that tell what a socket is waited for.
pub(crate) struct Pollers {
    /// The shard's own poller.
    pub(crate) prompt: Registry,
    /// That of clients who have all that was sent.
    pub(crate) hangup: Registry,
}

impl Pollers {
    /// Whoever is waited for to take something or to close is told of at once from now on.
    pub(crate) fn promptly(
        &self,
        socket: &mut TcpStream,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        if self.prompt.reregister(socket, token, interest).is_ok() {
            return Ok(());
        }
        self.hangup.deregister(socket)?;
        self.prompt.register(socket, token, interest)
    }
}
