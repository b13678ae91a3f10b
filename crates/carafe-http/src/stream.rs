//! An open stream, to the limits and the counters.

use std::any::Any;
use std::time::Duration;

use carafe_fanout::{Ended, Guest};
use tracing::warn;

use crate::Options;
use crate::address::ClientAddress;
use crate::limit::Limit;
use crate::metrics::{Counted, End, Way};
use crate::seldom::Seldom;
use crate::subscribers::Permit;

/// How often it is told that a limit is met.
static TOLD: Seldom = Seldom::every(Duration::from_secs(60));

/// What an open stream holds, whatever writes it: its permit, and its place in the counters. Both end when it is dropped.
#[derive(Debug)]
pub(crate) struct OpenStream {
    _permit: Permit,
    counted: Counted,
}

impl OpenStream {
    /// One more, which leaves this way.
    pub(crate) fn new(options: &Options, permit: Permit, way: Way) -> Self {
        Self { _permit: permit, counted: Counted::new(&options.metrics, way) }
    }

    /// That which a guest is, or has.
    pub(crate) fn of(guest: &mut dyn Any) -> Option<&mut Self> {
        if guest.is::<Self>() {
            return guest.downcast_mut();
        }
        guest.downcast_mut().map(|accompanied: &mut Accompanied| &mut accompanied.open)
    }

    /// It leaves another way than was thought.
    pub(crate) fn goes(&mut self, way: Way) {
        self.counted.goes(way);
    }
}

impl Guest for OpenStream {
    fn ended(mut self: Box<Self>, ended: Ended) {
        self.counted.ends(match ended {
            Ended::Whole => End::Ended,
            Ended::Failed => End::Failed,
            Ended::Gone => End::Left,
            Ended::Stalled => End::Stalled,
            Ended::Cut => End::Cut,
        });
    }
}

/// An open stream, and what is to be dropped when it has ended.
pub(crate) struct Accompanied {
    pub(crate) open: OpenStream,
    pub(crate) companion: Box<dyn Send>,
}

impl Guest for Accompanied {
    fn ended(self: Box<Self>, ended: Ended) {
        let Self { open, companion } = *self;
        Box::new(open).ended(ended);
        drop(companion);
    }
}

/// Lets one more stream be opened, if it may be.
pub(crate) fn admit(options: &Options, client: Option<ClientAddress>) -> Result<Permit, Limit> {
    options.subscribers.admit(client).inspect_err(|limit| {
        options.metrics.limited(*limit);
        tell(*limit, client);
    })
}

fn tell(limit: Limit, client: Option<ClientAddress>) {
    if !TOLD.now() {
        return;
    }
    match (limit, client) {
        (Limit::SubscribersPerAddress, Some(client)) => warn!(
            %client,
            "one address has as many streams as it may; if it is a proxy, name it by --trusted-proxies"
        ),
        _ => warn!("there are as many streams as there may be; newcomers are told to come back"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each open stream has one.
    #[test]
    fn an_open_stream_takes_no_more_memory_than_now() {
        assert!(size_of::<OpenStream>() <= 40, "{}", size_of::<OpenStream>());
    }
}
