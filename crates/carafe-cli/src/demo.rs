//! The counter of `carafe dev`, with which the console demonstrates a cut connection.
//!
//! It is a hub of its own at `/demo`, in memory: its events are not among the user's, whatever they
//! subscribe to, and take no space in their log.

use std::time::Duration;

use carafe_http::{Options, Rights};
use carafe_hub::Hub;
use carafe_log::{MemoryLimits, MemoryLog, Publication};
use carafe_protocol::Topic;
use tokio::time::{MissedTickBehavior, interval};

/// The path of the hub, below the base path.
pub(crate) const PATH: &str = "/demo";

/// An hour of counts, from which a page resumes that was away.
const HISTORY: usize = 3600;

pub(crate) struct Demo(Hub);

impl Demo {
    /// Starts to count.
    pub(crate) fn start() -> Self {
        let mut limits = MemoryLimits::default();
        limits.entries = HISTORY;
        let hub = Hub::new(MemoryLog::new(limits));
        tokio::spawn(count(hub.clone()));
        Self(hub)
    }

    /// Its hub, and what clients may do there.
    pub(crate) fn endpoint(&self) -> (Hub, Options) {
        let mut options = Options::default();
        options.anonymous = Rights::subscribe();
        options.loopback_only = true;
        (self.0.clone(), options)
    }

    /// Ends its streams and the counter.
    pub(crate) fn end(&self) {
        self.0.drain().end(usize::MAX);
    }
}

/// Publishes a count each second to the topic `count`, until the hub drains.
async fn count(hub: Hub) {
    let topic = Topic::new("count").expect("a plain word is a topic");
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for count in 1_u64.. {
        second.tick().await;
        if hub.publish(Publication::new(topic.clone(), count.to_string())).await.is_err() {
            return;
        }
    }
}
