//! Sockets whose stream has ended, until their clients have closed, too.
//!
//! A socket that is closed while bytes of its client are unread resets the connection, and the
//! client loses what it has not read yet. So the shard shuts its side down, and waits for a moment.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Token};
use slab::Slab;

use crate::pollers::Pollers;
use crate::socket;

/// How long a client may take to close.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tokens of closing sockets begin here, above those of all subscribers.
const FIRST_TOKEN: usize = 1 << 40;

#[derive(Default)]
pub(crate) struct ClosingSockets {
    sockets: Slab<(TcpStream, Instant)>,
    /// When each is closed in any case, the earliest first. Its key may be reused by then.
    deadlines: VecDeque<(Instant, usize)>,
}

impl ClosingSockets {
    /// Shuts the socket down, and keeps it until the client closes.
    pub(crate) fn add(&mut self, mut socket: TcpStream, pollers: &Pollers, now: Instant) {
        let entry = self.sockets.vacant_entry();
        let (key, until) = (entry.key(), now + PATIENCE);
        let waits = socket::end(&socket)
            .and_then(|()| {
                // Tokens of subscribers are below 2^31, so the two never meet.
                pollers.promptly(&mut socket, Token(FIRST_TOKEN + key), Interest::READABLE)
            })
            .is_ok();
        // Otherwise the client has left already, or the poller failed: the socket is closed here.
        if waits {
            entry.insert((socket, until));
            self.deadlines.push_back((until, key));
        }
    }

    /// Handles the event of a closing socket; `false` if the token is none of them.
    pub(crate) fn takes(&mut self, token: Token) -> bool {
        let Some(key) = token.0.checked_sub(FIRST_TOKEN) else { return false };
        if self.sockets.get(key).is_some_and(|(socket, _)| socket::is_closed(socket)) {
            self.sockets.remove(key);
        }
        true
    }

    /// Closes the sockets whose clients have taken too long.
    pub(crate) fn close_late(&mut self, now: Instant) {
        while let Some((until, key)) = self.deadlines.pop_front_if(|(until, _)| *until <= now) {
            // The deadline is compared, since another socket may have the key by now.
            if self.sockets.get(key).is_some_and(|(_, theirs)| *theirs == until) {
                self.sockets.remove(key);
            }
        }
    }

    /// The next deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.deadlines.front().map(|(until, _)| *until)
    }
}
