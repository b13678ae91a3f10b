//! Who is subscribed, for 0.x: an API, and private updates when a subscription begins and ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use carafe_hub::{Access, Client, Hub, event_id};
use carafe_log::{ExternalId, Publication};
use carafe_protocol::Topic;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Handle;

use crate::answer::problem::Problem;
use crate::mercure::check_read_only;
use crate::mercure::form_data::FormData;
use crate::mercure::mercure_caller::MercureCaller;
use crate::mercure::refusal::Refusal;
use crate::mercure::state::Adapter;
use crate::mercure::update::new_urn;
use crate::mercure::version::Version;
use crate::policy::client::sharer;

pub(crate) const PATH: &str = "/.well-known/mercure/subscriptions";

const CONTEXT: &str = "https://mercure.rocks/";

/// What stands for itself in a segment of a URL.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The open subscriptions of 0.x, by selector and subscriber.
#[derive(Default)]
pub(crate) struct Subscriptions {
    // Held for looking things up, and never while something is published.
    open: Mutex<BTreeMap<(String, String), Subscription>>,
}

/// One selector of a subscriber, as it is told.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Subscription {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    topic: String,
    subscriber: String,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Value>,
}

/// A document of its own.
#[derive(Serialize)]
struct Document<T> {
    #[serde(rename = "@context")]
    context: &'static str,
    #[serde(flatten)]
    content: T,
    #[serde(rename = "lastEventID", skip_serializing_if = "Option::is_none")]
    last_event_id: Option<String>,
}

#[derive(Serialize)]
struct Collection {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    subscriptions: Vec<Subscription>,
}

impl Subscriptions {
    fn open(&self) -> MutexGuard<'_, BTreeMap<(String, String), Subscription>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in that someone has subscribed, until what this gives is dropped.
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
            runtime: Handle::current(),
            all,
        }
    }

    /// Those of a selector; of all without one.
    fn list(&self, topic: Option<&str>) -> Vec<Subscription> {
        let open = self.open();
        let wanted = open.values().filter(|one| topic.is_none_or(|topic| one.topic == topic));
        wanted.cloned().collect()
    }

    fn one(&self, topic: &str, subscriber: &str) -> Option<Subscription> {
        self.open().get(&(topic.into(), subscriber.into())).cloned()
    }
}

impl Subscription {
    fn new(topic: &str, subscriber: &str, payload: Option<Value>) -> Self {
        let [in_topic, in_subscriber] =
            [topic, subscriber].map(|text| utf8_percent_encode(text, ESCAPED));
        Self {
            id: format!("{PATH}/{in_topic}/{in_subscriber}"),
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

    /// The private update that tells of it; `None` where its name is too long for a topic.
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

/// A subscriber who is there until this is dropped.
pub(crate) struct Present {
    subscriptions: Arc<Subscriptions>,
    hub: Hub,
    runtime: Handle,
    all: Vec<Subscription>,
}

impl Present {
    /// Tells that the subscriber is there.
    pub(crate) async fn announce(&self) {
        publish(&self.hub, &self.all).await;
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        {
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
        // When the hub drains, all subscriptions end, and nobody is left to be told.
        tracing::debug!(%error, "a subscription is not told");
    }
}

/// All subscriptions, or those of one selector.
pub(crate) async fn list(
    State(adapter): State<Adapter>,
    topic: Option<Path<String>>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, _) = request.into_parts();
    let reader = reader(&adapter, &parts).await?;
    let subscriptions = told(&adapter).list(topic.as_ref().map(|Path(topic)| topic.as_str()));
    let content = Collection { id: parts.uri.path().into(), kind: "Subscriptions", subscriptions };
    answer(&adapter, content, &reader).await
}

/// One subscription.
pub(crate) async fn one(
    State(adapter): State<Adapter>,
    Path((topic, subscriber)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, _) = request.into_parts();
    let reader = reader(&adapter, &parts).await?;
    let one = told(&adapter).one(&topic, &subscriber).ok_or_else(Problem::not_found)?;
    answer(&adapter, one, &reader).await
}

fn told(adapter: &Adapter) -> Arc<Subscriptions> {
    adapter.subscriptions.clone().unwrap_or_default()
}

/// Who reads, and what it may see.
struct Reader {
    access: Access,
    client: Option<Client>,
}

/// The caller, if the URL is among what its token may subscribe to.
async fn reader(adapter: &Adapter, parts: &Parts) -> Result<Reader, Refusal> {
    check_read_only(&parts.method)?;
    let query = FormData::parse(parts.uri.query().unwrap_or_default())?;
    let caller = MercureCaller::subscriber(adapter, Version::Zero, &query, parts).await?;
    let granted = Topic::new(parts.uri.path())
        .is_ok_and(|topic| caller.rights.subscribe.covers_topic(&topic));
    if granted {
        let client = sharer(&adapter.app.options, caller.identity, parts);
        return Ok(Reader { access: caller.rights.subscribe, client });
    }
    Err(caller.refused(adapter, "these subscriptions may not be seen"))
}

async fn answer(
    adapter: &Adapter,
    content: impl Serialize,
    reader: &Reader,
) -> Result<Response, Refusal> {
    let newest = adapter.app.hub.newest(&reader.access, reader.client).await;
    let newest = newest
        .map_err(|error| Problem::try_again(format!("the history cannot be read: {error}")))?;
    let last = newest.map_or("earliest".into(), |entry| event_id(&entry).to_string());
    let document = Document { context: CONTEXT, content, last_event_id: Some(last) };
    let body = serde_json::to_vec(&document).expect("an object of texts is always JSON");
    let headers = [(CONTENT_TYPE, "application/ld+json"), (CACHE_CONTROL, "no-store")];
    Ok((headers, body).into_response())
}
