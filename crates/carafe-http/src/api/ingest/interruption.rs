//! What ends an ingest request while its body is open.

use std::pin::Pin;

use carafe_hub::{Hub, TopicWatch};
use carafe_protocol::{Position, Topic};
use tokio::time::{Sleep, sleep_until};

use crate::api::caller::Caller;
use crate::api::hub_body::instant;
use crate::api::ingest::request::Template;
use crate::policy::revocations::bearer::{Bearer, Watched};

/// Why a request ends before its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// The hub shuts down.
    Draining,
    /// The rights of the client have ended.
    Expired,
    /// The rights of the client were revoked.
    Revoked,
    /// The producer of a topic is asked to stop, by the entry at this position.
    Stopped(Topic, Position),
}

impl Interruption {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Stopped(..) => "stopped",
        }
    }
}

/// Waits for what ends a request.
pub(crate) struct Interruptions {
    hub: Hub,
    topics: Vec<Topic>,
    /// Requests to stop that are not for this request.
    old: Vec<Position>,
    watch: TopicWatch,
    expiry: Option<Pin<Box<Sleep>>>,
    revoked: Option<Watched>,
    /// Something may have happened since this was checked last.
    is_unchecked: bool,
}

impl Interruptions {
    pub(crate) fn new(hub: &Hub, template: &Template, caller: &Caller<'_>) -> Self {
        let revoked = caller.bearer.as_ref().map(Bearer::watch);
        let watch = hub.watch(template.topics());
        let expiry = caller.rights.expires.and_then(instant).map(|end| Box::pin(sleep_until(end)));
        let topics: Vec<_> = template.topics().cloned().collect();
        // A request that begins a new life of its topics is not stopped by what was asked of the
        // old one.
        let old = topics.iter().filter(|_| template.reopens());
        let old = old.filter_map(|topic| hub.topic_state(topic).stop).collect();
        Self { hub: hub.clone(), topics, old, watch, expiry, revoked, is_unchecked: true }
    }

    /// Waits for an interruption. It may be dropped and called again.
    pub(crate) async fn next(&mut self) -> Interruption {
        loop {
            if std::mem::take(&mut self.is_unchecked)
                && let Some(interruption) = self.due()
            {
                return interruption;
            }
            let Self { watch, expiry, revoked, is_unchecked, .. } = self;
            tokio::select! {
                biased;
                () = watch.changed() => *is_unchecked = true,
                () = reached(revoked.as_mut()) => return Interruption::Revoked,
                () = reached(expiry.as_mut()) => return Interruption::Expired,
            }
        }
    }

    fn due(&self) -> Option<Interruption> {
        if self.hub.is_draining() {
            return Some(Interruption::Draining);
        }
        self.topics.iter().find_map(|topic| {
            let stop = self.hub.topic_state(topic).stop.filter(|stop| !self.old.contains(stop))?;
            Some(Interruption::Stopped(topic.clone(), stop))
        })
    }
}

/// Completes with the future; never without one.
async fn reached(future: Option<&mut (impl Future<Output = ()> + Unpin)>) {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
