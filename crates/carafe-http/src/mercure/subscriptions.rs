//! The API of open subscriptions, in both versions. They share the path of all subscriptions; the
//! version of a request is that of its token.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use carafe_hub::{Access, Client, event_id};
use carafe_protocol::Topic;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LINK};
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use serde::Serialize;

use crate::answer::problem::{Problem, check_read_only};
use crate::mercure::encoder::OF_HUB;
use crate::mercure::form_data::FormData;
use crate::mercure::mercure_caller::MercureCaller;
use crate::mercure::presence::{CONTEXT, Document, Report, Selector, Subscription, Subscriptions};
use crate::mercure::refusal::Refusal;
use crate::mercure::selector::MatchType;
use crate::mercure::state::Adapter;
use crate::mercure::version::Version;
use crate::policy::client::hub_client;

/// The segments of a path after that of all subscriptions.
type Segments = Option<Path<Vec<(String, String)>>>;

#[derive(Serialize)]
struct Collection<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    subscriptions: Vec<Report<'a>>,
}

/// What a path names.
enum Named {
    Several(Vec<Arc<Subscription>>),
    One(Arc<Subscription>),
}

/// All subscriptions of a version, those with one selector, or one subscription.
pub(crate) async fn get(
    State(adapter): State<Adapter>,
    segments: Segments,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, _) = request.into_parts();
    let reader = Reader::of(&adapter, &parts).await?;
    let Some(subscriptions) = &adapter.subscriptions else {
        return Err(Problem::not_found().into());
    };
    let segments: Vec<_> = segments.into_iter().flat_map(|Path(all)| all).collect();
    let segments: Vec<_> = segments.iter().map(|(_, segment)| segment.as_str()).collect();
    // Before the subscriptions are looked up: a change that comes between is reported twice, and
    // not lost.
    let last = last_event_id(&adapter, &reader).await?;
    let named = named(subscriptions, reader.version, &segments).ok_or_else(Problem::not_found)?;
    Ok(match named {
        Named::One(one) => answer(&adapter, subscriptions.report(&one, true), &reader, last),
        Named::Several(several) => {
            let kind = match reader.version {
                Version::Zero => "Subscriptions",
                Version::One => "subscriptions",
            };
            let reports = several.iter().map(|one| subscriptions.report(one, true)).collect();
            let collection = Collection { id: &reader.path, kind, subscriptions: reports };
            answer(&adapter, collection, &reader, last)
        }
    })
}

/// What the segments name in this version, if anything.
fn named(subscriptions: &Subscriptions, version: Version, segments: &[&str]) -> Option<Named> {
    let topic = |topic: &str| Selector::Topic { topic: topic.into() };
    let matcher = |match_type: &str, text: &str| {
        let match_type = MatchType::named(match_type)?.name();
        Some(Selector::Matcher { match_type, text: text.into() })
    };
    Some(match (version, segments) {
        (_, []) => Named::Several(subscriptions.of_version(version)),
        (Version::Zero, [text]) => Named::Several(subscriptions.with(topic(text))),
        (Version::Zero, [text, subscriber]) => {
            Named::One(subscriptions.one(topic(text), subscriber)?)
        }
        (Version::One, [match_type, text]) => {
            Named::Several(subscriptions.with(matcher(match_type, text)?))
        }
        (Version::One, [match_type, text, subscriber]) => {
            Named::One(subscriptions.one(matcher(match_type, text)?, subscriber)?)
        }
        _ => return None,
    })
}

/// The reader of a document, and which events it may see.
struct Reader {
    version: Version,
    /// The URL of the document in relative form.
    path: String,
    access: Access,
    client: Option<Client>,
}

impl Reader {
    /// The caller, if its token may subscribe to the URL of the document.
    async fn of(adapter: &Adapter, parts: &Parts) -> Result<Self, Refusal> {
        check_read_only(&parts.method)?;
        let query = FormData::parse(parts.uri.query().unwrap_or_default())?;
        let caller = MercureCaller::reader(adapter, &query, parts).await?;
        let (version, path) = (caller.version, parts.uri.path());
        let path = match version {
            Version::Zero => path.to_owned(),
            Version::One => format!("{}{path}", adapter.prefix),
        };
        let granted =
            Topic::new(&path).is_ok_and(|topic| caller.rights.subscribe.covers_topic(&topic));
        if !granted {
            return Err(caller.refused(adapter, "these subscriptions may not be seen"));
        }
        let client = hub_client(&adapter.app.options.proxies, caller.identity, parts);
        Ok(Self { version, path, access: caller.rights.subscribe, client })
    }
}

/// The ID of the newest event that the reader may see: a stream that resumes there misses no change
/// of what is looked up after this.
async fn last_event_id(adapter: &Adapter, reader: &Reader) -> Result<String, Refusal> {
    let newest = adapter.app.hub.newest(&reader.access, reader.client).await;
    let newest = newest
        .map_err(|error| Problem::try_again(format!("the history cannot be read: {error}")))?;
    Ok(newest.map_or("earliest".into(), |entry| event_id(&entry).to_string()))
}

/// The document, with the ID after which a stream resumes.
fn answer(adapter: &Adapter, content: impl Serialize, reader: &Reader, last: String) -> Response {
    let (body, content_type, link) = match reader.version {
        Version::Zero => {
            let document = Document { context: CONTEXT, content, last_event_id: Some(last) };
            (serde_json::to_vec(&document), "application/ld+json", None)
        }
        Version::One => (serde_json::to_vec(&content), "application/json", link(adapter, &last)),
    };
    let body = body.expect("an object of texts is always JSON");
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")];
    let mut response = (headers, body).into_response();
    response.headers_mut().extend(link);
    response
}

/// The link to the hub, with the cursor and what subscription events look like (RFC 8288).
fn link(adapter: &Adapter, last: &str) -> Option<(HeaderName, HeaderValue)> {
    let resource = adapter.resource.as_ref()?;
    let mut link = format!("<{resource}>; rel=\"mercure\"; last-event-id=\"");
    for character in last.chars() {
        let escape = if matches!(character, '"' | '\\') { "\\" } else { "" };
        // Writing to a string does not fail.
        let _ = write!(link, "{escape}{character}");
    }
    let _ = write!(link, "\"; type=\"{OF_HUB}\"; content-type=\"application/json\"");
    Some((LINK, HeaderValue::from_bytes(link.as_bytes()).ok()?))
}
