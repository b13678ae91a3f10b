//! The open subscriptions of Mercure 0.x, and the private updates when one opens or closes.
//!
//! Handlers register a subscriber. Its [`Present`] is dropped with the stream, on whichever thread
//! ends it, and publishes on the runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carafe_hub::Hub;
use carafe_log::{ExternalId, Publication};
use carafe_protocol::Topic;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Handle;

use crate::mercure::update::new_urn;

/// The API of open subscriptions.
pub(crate) const SUBSCRIPTIONS: &str = "/.well-known/mercure/subscriptions";

pub(crate) const CONTEXT: &str = "https://mercure.rocks/";

/// Escapes all but the unreserved characters (RFC 3986, 2.3) in a segment of a URL.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The open subscriptions of 0.x, by selector and subscriber.
#[derive(Default)]
pub(crate) struct Subscriptions {
    // Held for lookups only, never while an update is published. No other lock is taken
    // meanwhile.
    open: Mutex<BTreeMap<(String, String), Subscription>>,
}

/// One selector of a subscriber, as it is reported.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Subscription {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    topic: String,
    subscriber: String,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Value>,
}

/// A JSON-LD document.
#[derive(Serialize)]
pub(crate) struct Document<T> {
    #[serde(rename = "@context")]
    pub(crate) context: &'static str,
    #[serde(flatten)]
    pub(crate) content: T,
    #[serde(rename = "lastEventID", skip_serializing_if = "Option::is_none")]
    pub(crate) last_event_id: Option<String>,
}

impl Subscriptions {
    fn open(&self) -> MutexGuard<'_, BTreeMap<(String, String), Subscription>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a subscriber until the result is dropped.
    pub(crate) fn register<'a>(
        self: &Arc<Self>,
        hub: &Hub,
        selectors: impl Iterator<Item = &'a str>,
        payload: Option<&Value>,
    ) -> Present {
        let subscriber = new_urn();
        let selectors: BTreeSet<_> = selectors.collect();
        let all: Vec<_> = selectors
            .into_iter()
            .map(|topic| Subscription::new(topic, &subscriber, payload.cloned()))
            .collect();
        self.open().extend(all.iter().map(|one| (one.key(), one.clone())));
        Present {
            subscriptions: Arc::clone(self),
            hub: hub.clone(),
            // Kept, because a shard drops the stream on a thread of its own, outside the runtime.
            runtime: Handle::current(),
            all,
        }
    }

    /// The subscriptions of a selector, or all.
    pub(crate) fn list(&self, topic: Option<&str>) -> Vec<Subscription> {
        let open = self.open();
        let wanted = open.values().filter(|one| topic.is_none_or(|topic| one.topic == topic));
        wanted.cloned().collect()
    }

    pub(crate) fn one(&self, topic: &str, subscriber: &str) -> Option<Subscription> {
        self.open().get(&(topic.into(), subscriber.into())).cloned()
    }
}

impl Subscription {
    fn new(topic: &str, subscriber: &str, payload: Option<Value>) -> Self {
        let [in_topic, in_subscriber] =
            [topic, subscriber].map(|text| utf8_percent_encode(text, ESCAPED));
        Self {
            id: format!("{SUBSCRIPTIONS}/{in_topic}/{in_subscriber}"),
            kind: "Subscription",
            topic: topic.into(),
            subscriber: subscriber.into(),
            active: true,
            payload,
        }
    }

    fn key(&self) -> (String, String) {
        (self.topic.clone(), self.subscriber.clone())
    }

    /// The private update that reports it; `None` if its URL is too long for a topic.
    fn update(&self) -> Option<Publication> {
        let document = Document { context: CONTEXT, content: self, last_event_id: None };
        let data = serde_json::to_string(&document).expect("an object of texts is always JSON");
        let id = ExternalId::new(&new_urn()).expect("a URN of a UUID is short");
        Some(
            Publication::new(Topic::new(&self.id).ok()?, data)
                .with_external_id(id)
                .with_private(true)
                .with_hub(true),
        )
    }
}

/// A registered subscriber.
pub(crate) struct Present {
    subscriptions: Arc<Subscriptions>,
    hub: Hub,
    runtime: Handle,
    all: Vec<Subscription>,
}

impl Present {
    /// Publishes that the subscriber is active.
    pub(crate) async fn announce(&self) {
        publish(&self.hub, &self.all).await;
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        {
            // In a block of its own: the lock is free before anything is published.
            let mut open = self.subscriptions.open();
            for one in &mut self.all {
                open.remove(&one.key());
                one.active = false;
            }
        }
        let (hub, all) = (self.hub.clone(), std::mem::take(&mut self.all));
        self.runtime.spawn(async move { publish(&hub, &all).await });
    }
}

async fn publish(hub: &Hub, all: &[Subscription]) {
    if let Err(error) = hub.publish_all(all.iter().filter_map(Subscription::update).collect()).await
    {
        // While the hub drains, all subscriptions end: no client would receive the update.
        tracing::debug!(%error, "cannot publish that a subscription opened or closed");
    }
}
