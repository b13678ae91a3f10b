//! The connections on which events are published.

use std::time::Instant;

use mio::{Registry, Token};

use crate::error::Error;

use crate::plan::Plan;
use crate::publisher::Publisher;

/// The token of the first publisher. Streams have tokens below.
const FIRST: usize = usize::MAX / 2;

pub(crate) struct Publishers {
    all: Vec<Publisher>,
    is_ordered: bool,
    /// The number of requests that each has in flight at most; `None` if that is not limited.
    share: Option<usize>,
    next: usize,
}

impl Publishers {
    pub(crate) fn new(plan: &Plan, registry: &Registry) -> std::io::Result<Self> {
        let publisher = |number| {
            let token = Token(FIRST + number);
            Ok(Publisher::new(plan, registry.try_clone()?, token))
        };
        let all = (0..plan.publishers).map(publisher).collect::<std::io::Result<_>>()?;
        let share = plan.only_publishes().then(|| plan.share());
        Ok(Self { all, is_ordered: plan.is_ordered(), share, next: 0 })
    }

    /// Queues a request; call `flush` afterwards.
    pub(crate) fn publish(&mut self, topic: usize, media_type: &str, body: &[u8]) {
        // One connection per topic keeps the events of a topic in order.
        let publisher = if self.is_ordered { topic % self.all.len() } else { self.next() };
        self.all[publisher].publish(topic, media_type, body);
    }

    /// The next publisher in turn that has not its share in flight.
    fn next(&mut self) -> usize {
        let all = self.all.len();
        let mut turns = (1..=all).map(|turn| (self.next + turn) % all);
        let has_room =
            |at: &usize| self.share.is_none_or(|share| self.all[*at].unanswered() < share);
        self.next = turns.find(has_room).unwrap_or((self.next + 1) % all);
        self.next
    }

    /// Writes until the sockets are full.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        self.all.iter_mut().try_for_each(Publisher::flush)
    }

    /// Handles readiness of a socket. Returns false if the token is not that of a publisher.
    pub(crate) fn ready(&mut self, token: Token) -> Result<bool, Error> {
        let publisher = token.0.checked_sub(FIRST).and_then(|number| self.all.get_mut(number));
        let Some(publisher) = publisher else { return Ok(false) };
        publisher.ready()?;
        Ok(true)
    }

    /// The number of requests without a response.
    pub(crate) fn unanswered(&self) -> usize {
        self.all.iter().map(Publisher::unanswered).sum()
    }

    /// When the first of those that wait reconnects.
    pub(crate) fn next_try(&self) -> Option<Instant> {
        self.all.iter().filter_map(Publisher::next_try).min()
    }
}
