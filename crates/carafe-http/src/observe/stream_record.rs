//! An open stream, to the limits and the counters.

use std::time::Duration;

use carafe_fanout::{EndReason, StreamObserver};
use carafe_hub::Client;
use tracing::warn;

use crate::answer::limit::Limit;
use crate::api::options::Options;
use crate::observe::metrics::{Counted, DeliveryPath};
use crate::observe::seldom::Seldom;
use crate::policy::address::ClientAddress;
use crate::policy::client::stranger;
use crate::policy::subscribers::{ConnectionPermit, Permit};

/// How often it is told that a limit is met.
static TOLD: Seldom = Seldom::every(Duration::from_secs(60));

/// What an open stream holds, whatever writes it: its permit, and its place in the counters. Both
/// end when it is dropped.
pub(crate) struct StreamRecord {
    permit: Permit,
    counted: Counted,
    /// Few streams have one, so it takes one pointer.
    attachment: Option<Box<Box<dyn Send>>>,
}

impl StreamRecord {
    /// One more, which leaves this way.
    pub(crate) fn new(options: &Options, permit: Permit, path: DeliveryPath) -> Self {
        Self { permit, counted: Counted::new(&options.metrics, path), attachment: None }
    }

    /// Holds this as long as it is open, too.
    pub(crate) fn with_attachment(mut self, attachment: impl Send + 'static) -> Self {
        self.attachment = Some(Box::new(Box::new(attachment)));
        self
    }

    /// It has its connection for itself, which is counted until it ends.
    pub(crate) fn has_connection(&mut self, connection: ConnectionPermit) {
        self.counted.has_connection = connection.hand_over(&self.permit);
    }

    /// It leaves another way than was thought.
    pub(crate) fn goes(&mut self, path: DeliveryPath) {
        self.counted.goes(path);
    }
}

impl StreamObserver for StreamRecord {
    fn client(&self) -> Option<Client> {
        self.permit.client().map(stranger)
    }

    fn ended(mut self, reason: EndReason) {
        self.counted.ends(reason);
    }
}

impl Drop for StreamRecord {
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
        assert!(size_of::<StreamRecord>() <= 40, "{}", size_of::<StreamRecord>());
    }
}
