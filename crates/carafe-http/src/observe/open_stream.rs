//! An open stream, to the limits and the counters.

use std::time::Duration;

use carafe_fanout::{Ended, StreamObserver};
use carafe_hub::Client;
use tracing::warn;

use crate::answer::limit::Limit;
use crate::api::options::Options;
use crate::observe::metrics::{Counted, End, Way};
use crate::observe::seldom::Seldom;
use crate::policy::address::ClientAddress;
use crate::policy::sharer::stranger;
use crate::policy::subscribers::{ConnectionPermit, Permit};

/// How often it is told that a limit is met.
static TOLD: Seldom = Seldom::every(Duration::from_secs(60));

/// What an open stream holds, whatever writes it: its permit, and its place in the counters. Both
/// end when it is dropped.
pub(crate) struct OpenStream {
    permit: Permit,
    counted: Counted,
    /// Few streams have one, so it takes one pointer.
    companion: Option<Box<Box<dyn Send>>>,
}

impl OpenStream {
    /// One more, which leaves this way.
    pub(crate) fn new(options: &Options, permit: Permit, way: Way) -> Self {
        Self { permit, counted: Counted::new(&options.metrics, way), companion: None }
    }

    /// Holds this as long as it is open, too.
    pub(crate) fn with_companion(mut self, companion: impl Send + 'static) -> Self {
        self.companion = Some(Box::new(Box::new(companion)));
        self
    }

    /// It has its connection for itself, which is counted until it ends.
    pub(crate) fn has_connection(&mut self, connection: ConnectionPermit) {
        self.counted.has_connection = connection.hand_over(&self.permit);
    }

    /// It leaves another way than was thought.
    pub(crate) fn goes(&mut self, way: Way) {
        self.counted.goes(way);
    }
}

impl StreamObserver for OpenStream {
    fn client(&self) -> Option<Client> {
        self.permit.client().map(stranger)
    }

    fn ended(mut self, ended: Ended) {
        self.counted.ends(match ended {
            Ended::Whole => End::Ended,
            Ended::Failed => End::Failed,
            Ended::Gone => End::Left,
            Ended::Stalled => End::Stalled,
            Ended::Cut => End::Cut,
        });
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        if self.counted.has_connection {
            self.permit.disconnect();
        }
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
