//! Connections whose stream is over, until their clients have closed too.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Token};
use slab::Slab;

use crate::pollers::Pollers;
use crate::socket;

/// How long a client may take to close.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tokens from here on are those of connections that close.
const FIRST_TOKEN: usize = 1 << 40;

/// Closed at once, a connection on which the client has said something more would be reset, and
/// with it what the client has yet to read.
#[derive(Default)]
pub(crate) struct ClosingSockets {
    sockets: Slab<(TcpStream, Instant)>,
    /// Until when each may take, the first first.
    patience: VecDeque<(Instant, usize)>,
}

impl ClosingSockets {
    /// Ends the connection in order.
    pub(crate) fn add(&mut self, mut socket: TcpStream, pollers: &Pollers, now: Instant) {
        let entry = self.sockets.vacant_entry();
        let (key, until) = (entry.key(), now + PATIENCE);
        let waits = socket::end(&socket)
            .and_then(|()| {
                pollers.promptly(&mut socket, Token(FIRST_TOKEN + key), Interest::READABLE)
            })
            .is_ok();
        if waits {
            entry.insert((socket, until));
            self.patience.push_back((until, key));
        }
    }

    /// Whether the token is one of a connection that closes, whose client has then said something.
    pub(crate) fn takes(&mut self, token: Token) -> bool {
        let Some(key) = token.0.checked_sub(FIRST_TOKEN) else { return false };
        if self.sockets.get(key).is_some_and(|(socket, _)| socket::is_closed(socket)) {
            self.sockets.remove(key);
        }
        true
    }

    /// Closes those whose clients have taken too long.
    pub(crate) fn close_late(&mut self, now: Instant) {
        while let Some((until, key)) = self.patience.pop_front_if(|(until, _)| *until <= now) {
            // The place may be another's by now.
            if self.sockets.get(key).is_some_and(|(_, theirs)| *theirs == until) {
                self.sockets.remove(key);
            }
        }
    }

    /// When there is something to be done by time alone.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.patience.front().map(|(until, _)| *until)
    }
}
