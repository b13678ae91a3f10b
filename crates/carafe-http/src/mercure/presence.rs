//! The open subscriptions, and the private updates when one opens or closes.
//!
//! Handlers register a subscriber. Its [`Present`] is dropped with the stream, on whichever thread
//! ends it, and publishes on the runtime.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carafe_hub::{Hub, PublishError};
use carafe_log::{ExternalId, Publication};
use carafe_protocol::{EventType, Topic};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::api::repeats::Repeats;
use crate::mercure::encoder::OF_HUB;
use crate::mercure::payloads::Payloads;
use crate::mercure::update::new_urn;
use crate::mercure::version::Version;

/// The API of open subscriptions.
pub(crate) const SUBSCRIPTIONS: &str = "/.well-known/mercure/subscriptions";

pub(crate) const CONTEXT: &str = "https://mercure.rocks/";

/// The most updates about closed subscriptions that wait for the engine of a cluster. Further ones
/// are published once only.
const CLOSING: usize = 10_000;

/// Escapes all but the unreserved characters (RFC 3986, 2.3) in a segment of a URL.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The open subscriptions of both versions, by selector and subscriber.
pub(crate) struct Subscriptions {
    // Held for lookups only, never while an update is published. No other lock is taken
    // meanwhile.
    open: Mutex<BTreeSet<Arc<Subscription>>>,
    /// The path before that of the hub, in topics of 1.0.
    prefix: Arc<str>,
    /// Permits for updates that may be published again.
    closing: Semaphore,
}

/// What a subscription asks for, as its version names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub(crate) enum Selector {
    /// 0.x.
    Topic { topic: String },
    /// 1.0.
    Matcher {
        match_type: &'static str,
        #[serde(rename = "match")]
        text: String,
    },
}

/// One selector of a subscriber. Two are equal if both are the same.
pub(crate) struct Subscription {
    selector: Selector,
    subscriber: Arc<str>,
    payload: Option<Arc<Value>>,
}

/// A subscription as it is reported.
#[derive(Serialize)]
pub(crate) struct Report<'a> {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    selector: &'a Selector,
    subscriber: &'a str,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a Value>,
}

/// A JSON-LD document of 0.x.
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
    pub(crate) fn new(prefix: Arc<str>) -> Self {
        Self { open: Mutex::default(), prefix, closing: Semaphore::new(CLOSING) }
    }

    fn open(&self) -> MutexGuard<'_, BTreeSet<Arc<Subscription>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a subscriber until the result is dropped. A selector whose URL is too long for a
    /// topic is not reported: so a subscription takes little memory here.
    pub(crate) fn register(
        self: &Arc<Self>,
        hub: &Hub,
        selectors: impl Iterator<Item = Selector>,
        payloads: &Payloads,
    ) -> Present {
        let subscriber: Arc<str> = new_urn().into();
        let selectors: BTreeSet<_> = selectors.collect();
        let all = selectors.into_iter().map(|selector| {
            let payload = payloads.of(selector.text());
            Arc::new(Subscription { selector, subscriber: Arc::clone(&subscriber), payload })
        });
        let all: Vec<_> = all.filter(|one| Topic::new(&self.url(one)).is_ok()).collect();
        self.open().extend(all.iter().cloned());
        Present {
            subscriptions: Arc::clone(self),
            hub: hub.clone(),
            // Kept, because a shard drops the stream on a thread of its own, outside the runtime.
            runtime: Handle::current(),
            all,
        }
    }

    /// The subscriptions of a version.
    pub(crate) fn of_version(&self, version: Version) -> Vec<Arc<Subscription>> {
        let open = self.open();
        open.iter().filter(|one| one.selector.version() == version).cloned().collect()
    }

    /// The subscriptions with this selector.
    pub(crate) fn with(&self, selector: Selector) -> Vec<Arc<Subscription>> {
        // The empty text is before all subscribers.
        let first = Subscription { selector, subscriber: "".into(), payload: None };
        let open = self.open();
        let from_first = open
            .range::<Subscription, _>(&first..)
            .take_while(|one| one.selector == first.selector);
        from_first.cloned().collect()
    }

    pub(crate) fn one(&self, selector: Selector, subscriber: &str) -> Option<Arc<Subscription>> {
        let wanted = Subscription { selector, subscriber: subscriber.into(), payload: None };
        self.open().get(&wanted).cloned()
    }

    /// A subscription as it is reported.
    pub(crate) fn report<'a>(&self, one: &'a Subscription, active: bool) -> Report<'a> {
        Report {
            id: self.url(one),
            kind: match one.selector.version() {
                Version::Zero => "Subscription",
                Version::One => "subscription",
            },
            selector: &one.selector,
            subscriber: &one.subscriber,
            active,
            payload: one.payload.as_deref(),
        }
    }

    /// The URL of a subscription, which is the topic of its updates.
    fn url(&self, one: &Subscription) -> String {
        let escaped = |text| utf8_percent_encode(text, ESCAPED);
        let subscriber = escaped(&one.subscriber);
        match &one.selector {
            Selector::Topic { topic } => format!("{SUBSCRIPTIONS}/{}/{subscriber}", escaped(topic)),
            Selector::Matcher { match_type, text } => {
                let text = escaped(text);
                format!("{}{SUBSCRIPTIONS}/{match_type}/{text}/{subscriber}", self.prefix)
            }
        }
    }

    /// The private update that reports a subscription.
    fn update(&self, one: &Subscription, active: bool) -> Option<Publication> {
        let content = self.report(one, active);
        let topic = Topic::new(&content.id).ok()?;
        let data = match one.selector.version() {
            Version::Zero => {
                serde_json::to_string(&Document { context: CONTEXT, content, last_event_id: None })
            }
            Version::One => serde_json::to_string(&content),
        };
        let data = data.expect("an object of texts is always JSON");
        let id = ExternalId::new(&new_urn()).expect("a URN of a UUID is short");
        let update = Publication::new(topic, data).with_external_id(id);
        let update = update.with_private(true).with_hub(true);
        Some(match one.selector.version() {
            Version::Zero => update,
            Version::One => update.with_type(EventType::from_static(OF_HUB)),
        })
    }

    fn updates(&self, all: &[Arc<Subscription>], active: bool) -> Vec<Publication> {
        all.iter().filter_map(|one| self.update(one, active)).collect()
    }

    /// Publishes that subscriptions have closed. While the engine of a cluster is away, that is
    /// repeated, unless as much as may wait does. The update may be there twice then, with one ID:
    /// nodes forget the keys of the hub's events at different times, so it has none.
    async fn close(&self, hub: &Hub, all: &[Arc<Subscription>]) {
        let updates = self.updates(all, false);
        let count = u32::try_from(updates.len()).unwrap_or(u32::MAX);
        let place = self.closing.try_acquire_many(count).ok();
        let repeats = Repeats::new();
        while let Err(error) = hub.publish_all(updates.clone()).await {
            if place.is_none() || !repeats.wait_after(&error).await {
                return not_published(&error);
            }
        }
    }
}

impl Selector {
    fn version(&self) -> Version {
        match self {
            Self::Topic { .. } => Version::Zero,
            Self::Matcher { .. } => Version::One,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Topic { topic: text } | Self::Matcher { text, .. } => text,
        }
    }
}

impl Subscription {
    fn key(&self) -> (&Selector, &str) {
        (&self.selector, &self.subscriber)
    }
}

impl PartialEq for Subscription {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Subscription {}

impl PartialOrd for Subscription {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Subscription {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// A registered subscriber.
pub(crate) struct Present {
    subscriptions: Arc<Subscriptions>,
    hub: Hub,
    runtime: Handle,
    all: Vec<Arc<Subscription>>,
}

impl Present {
    /// Publishes that the subscriber is active.
    pub(crate) async fn announce(&self) {
        let updates = self.subscriptions.updates(&self.all, true);
        if let Err(error) = self.hub.publish_all(updates).await {
            not_published(&error);
        }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        {
            // In a block of its own: the lock is free before anything is published.
            let mut open = self.subscriptions.open();
            for one in &self.all {
                open.remove(one);
            }
        }
        let (subscriptions, hub) = (Arc::clone(&self.subscriptions), self.hub.clone());
        let all = std::mem::take(&mut self.all);
        self.runtime.spawn(async move { subscriptions.close(&hub, &all).await });
    }
}

/// While the hub drains, all subscriptions end: no client would receive the update.
fn not_published(error: &PublishError) {
    tracing::debug!(%error, "cannot publish that a subscription opened or closed");
}
