//! The API of open subscriptions of Mercure 0.x.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use carafe_hub::{Access, Client, event_id};
use carafe_protocol::Topic;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use serde::Serialize;

use crate::answer::problem::{Problem, check_read_only};
use crate::mercure::form_data::FormData;
use crate::mercure::mercure_caller::MercureCaller;
use crate::mercure::presence::{CONTEXT, Document, Subscription, Subscriptions};
use crate::mercure::refusal::Refusal;
use crate::mercure::state::Adapter;
use crate::mercure::version::Version;
use crate::policy::client::hub_client;

#[derive(Serialize)]
struct Collection {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    subscriptions: Vec<Subscription>,
}

/// All subscriptions, or those of one selector.
pub(crate) async fn list(
    State(adapter): State<Adapter>,
    topic: Option<Path<String>>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, _) = request.into_parts();
    let reader = reader(&adapter, &parts).await?;
    let subscriptions =
        open_subscriptions(&adapter).list(topic.as_ref().map(|Path(topic)| topic.as_str()));
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
    let one =
        open_subscriptions(&adapter).one(&topic, &subscriber).ok_or_else(Problem::not_found)?;
    answer(&adapter, one, &reader).await
}

fn open_subscriptions(adapter: &Adapter) -> Arc<Subscriptions> {
    adapter.subscriptions.clone().unwrap_or_default()
}

/// The reader of a document, and which events it may see.
struct Reader {
    access: Access,
    client: Option<Client>,
}

/// The caller, if its token may subscribe to the URL of the document.
async fn reader(adapter: &Adapter, parts: &Parts) -> Result<Reader, Refusal> {
    check_read_only(&parts.method)?;
    let query = FormData::parse(parts.uri.query().unwrap_or_default())?;
    let caller = MercureCaller::subscriber(adapter, Version::Zero, &query, parts).await?;
    let granted = Topic::new(parts.uri.path())
        .is_ok_and(|topic| caller.rights.subscribe.covers_topic(&topic));
    if granted {
        let client = hub_client(&adapter.app.options.proxies, caller.identity, parts);
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
