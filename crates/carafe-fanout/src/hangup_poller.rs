//! A poller for sockets that are only watched for the client's hangup.
//!
//! Very many clients may leave in a short time, and waking the shard for each would cost more than
//! the rest. So only the first hangup wakes the shard. From then on the shard polls by itself,
//! after a pause, until no client has left meanwhile. For that, this poller is itself registered
//! with the shard's, as long as no hangup is pending.

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};

/// How long a hangup may go unnoticed while there are others.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) struct HangupPoller {
    poll: Poll,
    events: Events,
    /// The shard's poller, which reports the first hangup.
    shard: Registry,
    token: Token,
    /// When to poll next; `None` while the shard's poller waits for the first hangup.
    next: Option<Instant>,
}

impl HangupPoller {
    pub(crate) fn new(shard: Registry, token: Token) -> io::Result<Self> {
        let (poll, events) = (Poll::new()?, Events::with_capacity(256));
        let poller = Self { poll, events, shard, token, next: None };
        poller.wait_for_first()?;
        Ok(poller)
    }

    /// Where sockets are registered.
    pub(crate) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// When to call [`look`](Self::look) next.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// The shard's poller has reported the first hangup.
    pub(crate) fn begin(&mut self, now: Instant) -> io::Result<()> {
        // Until `look` finds nothing, the shard's poller must not report: it would wake the shard
        // for each hangup.
        self.next = Some(now);
        self.shard.deregister(&mut SourceFd(&self.poll.as_raw_fd()))
    }

    /// Polls if it is time to, and passes each event on.
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
            return self.wait_for_first();
        }
        self.events.iter().for_each(&mut each);
        // A full buffer means that more events may be pending.
        let is_all = self.events.iter().count() < self.events.capacity();
        self.next = Some(if is_all { now + PAUSE } else { now });
        Ok(())
    }

    /// Registering reports hangups that are pending already, so none is missed.
    fn wait_for_first(&self) -> io::Result<()> {
        self.shard.register(&mut SourceFd(&self.poll.as_raw_fd()), self.token, Interest::READABLE)
    }
}
