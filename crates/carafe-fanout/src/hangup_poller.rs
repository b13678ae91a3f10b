//! A poller of its own for sockets of which only the client's leave is awaited.
//!
//! Very many clients may leave in a short time, and to wake the shard for each would cost more than
//! the rest. So the shard is woken for the first; from then on it looks by itself, after a pause,
//! until none have left meanwhile.

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};

/// How long who left may go unnoticed while others do.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) struct HangupPoller {
    poll: Poll,
    events: Events,
    /// The shard's poller, which tells of this one while nobody has left lately.
    shard: Registry,
    token: Token,
    /// When to look, if somebody has.
    next: Option<Instant>,
}

impl HangupPoller {
    pub(crate) fn new(shard: Registry, token: Token) -> io::Result<Self> {
        let hangups = Self {
            poll: Poll::new()?,
            events: Events::with_capacity(256),
            shard,
            token,
            next: None,
        };
        hangups.await_first()?;
        Ok(hangups)
    }

    /// Where sockets are registered.
    pub(crate) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// When to look next.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Somebody has left, as the shard's poller tells.
    pub(crate) fn begin(&mut self, now: Instant) -> io::Result<()> {
        self.next = Some(now);
        self.shard.deregister(&mut SourceFd(&self.poll.as_raw_fd()))
    }

    /// Hands over what there is, if it is time to look.
    pub(crate) fn look(&mut self, now: Instant, mut each: impl FnMut(&Event)) -> io::Result<()> {
        if self.next.is_none_or(|next| now < next) {
            return Ok(());
        }
        match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        if self.events.is_empty() {
            self.next = None;
            return self.await_first();
        }
        self.events.iter().for_each(&mut each);
        // There may be more than are told at once.
        let is_all = self.events.iter().count() < self.events.capacity();
        self.next = Some(if is_all { now + PAUSE } else { now });
        Ok(())
    }

    /// Whoever has left already counts, too.
    fn await_first(&self) -> io::Result<()> {
        self.shard.register(&mut SourceFd(&self.poll.as_raw_fd()), self.token, Interest::READABLE)
    }
}
