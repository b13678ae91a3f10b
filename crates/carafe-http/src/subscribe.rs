//! `GET /events…` and `HEAD /events…`.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use carafe_hub::{Form, Frames, Start, Subscribe, SubscribeError};
use carafe_protocol::{Topic, TopicMatcher, TopicPattern};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Uri, Version};

use crate::Problem;
use crate::caller::Caller;
use crate::headers::{POSITION, stream_headers};
use crate::hub_body::{HubBody, come_back};
use crate::query::{Query, percent_decode};
use crate::router::App;
use crate::takeover::Slot;

const PARAMETERS: &[&str] = &["topic", "pattern", "last_event_id", "earliest", "last", "envelope"];

/// Answers with the stream: headers and the position at once, then events.
pub(crate) async fn subscribe(State(app): State<App>, parts: Parts) -> Result<Response, Problem> {
    let caller = Caller::of(&app);
    let (request, form) = parse(&caller, &parts)?;
    match app.hub.subscribe(request).await {
        Ok(subscription) => Ok(stream(&app, &parts, subscription.into_frames(form))),
        // EventSource never retries after 5xx: a stream that only says when to come back makes it try again.
        Err(SubscribeError::Draining) => Ok((stream_headers(), come_back(&app.options)).into_response()),
        Err(error) => Err(refusal(&caller, &error)),
    }
}

/// The stream, on a connection that serves nothing else where a shard can take it.
fn stream(app: &App, parts: &Parts, frames: Frames) -> Response {
    let slot = parts.extensions.get::<Slot>().filter(|_| may_be_taken(parts)).cloned();
    let closes = slot.is_some();
    let body = Body::new(HubBody::new(frames, slot, &app.options));
    let mut response = (stream_headers(), body).into_response();
    if closes {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether the client says nothing more on this connection: to a shard, a body would be another request.
fn may_be_taken(parts: &Parts) -> bool {
    let length = parts.headers.get(CONTENT_LENGTH);
    let has_body =
        length.is_some_and(|length| length != "0") || parts.headers.contains_key(TRANSFER_ENCODING);
    parts.version == Version::HTTP_11 && !has_body
}

/// Answers with the current position, after which a stream misses nothing that is published from now on.
pub(crate) async fn position(State(app): State<App>, parts: Parts) -> Result<Response, Problem> {
    let caller = Caller::of(&app);
    let (request, _) = parse(&caller, &parts)?;
    request.check().map_err(|error| refusal(&caller, &error))?;
    Ok((stream_headers(), [(POSITION, app.hub.position().to_string())]).into_response())
}

/// The topic in the path, percent-decoded; `None` for `/events` itself.
pub(crate) fn topic_in_path(uri: &Uri) -> Result<Option<Topic>, Problem> {
    uri.path().strip_prefix("/events/").map(|rest| topic(&percent_decode(rest)?)).transpose()
}

pub(crate) fn topic(text: &str) -> Result<Topic, Problem> {
    Topic::new(text)
        .map_err(|error| Problem::bad_request("urn:carafe:problem:bad-topic", "Bad topic", error.to_string()))
}

fn parse(caller: &Caller, parts: &Parts) -> Result<(Subscribe, Form), Problem> {
    let query = Query::parse(parts.uri.query(), PARAMETERS)?;
    let mut matchers: Vec<TopicMatcher> =
        topic_in_path(&parts.uri)?.map(TopicMatcher::Exact).into_iter().collect();
    for text in query.all("topic") {
        matchers.push(topic(text)?.into());
    }
    for text in query.all("pattern") {
        matchers.push(pattern(text)?.into());
    }
    let request = if matchers.is_empty() { Subscribe::to_everything() } else { Subscribe::to_all(matchers) };
    let request = request.with_access(caller.rights.subscribe.clone());
    Ok((request.from(start(&parts.headers, &query)?), form(&query)?))
}

fn pattern(text: &str) -> Result<TopicPattern, Problem> {
    TopicPattern::new(text).map_err(|error| {
        Problem::bad_request("urn:carafe:problem:bad-pattern", "Bad pattern", error.to_string())
    })
}

/// The header first: a browser that reconnects sends it, and repeats the URL it was first given.
fn start(headers: &HeaderMap, query: &Query) -> Result<Start, Problem> {
    let header = headers.get("last-event-id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let id = match header.filter(|id| !id.is_empty()) {
        Some(id) => Some(id),
        None => query.one("last_event_id")?.filter(|id| !id.is_empty()).map(Into::into),
    };
    Ok(match id {
        Some(id) if id == "earliest" => Start::Earliest,
        Some(id) => Start::After(id),
        None if query.flag("earliest")? => Start::Earliest,
        None => query.number("last")?.map_or(Start::Tail, Start::Last),
    })
}

fn form(query: &Query) -> Result<Form, Problem> {
    match query.one("envelope")? {
        None => Ok(Form::Plain),
        Some("json") => Ok(Form::Enveloped),
        Some(_) => {
            let detail = "there is no such envelope: use envelope=json, or leave it out";
            Err(Problem::bad_request("urn:carafe:problem:bad-parameter", "Bad parameter", detail))
        }
    }
}

fn refusal(caller: &Caller, error: &SubscribeError) -> Problem {
    let detail = error.to_string();
    match error {
        SubscribeError::TooManyMatchers { .. } => Problem::bad_request(
            "urn:carafe:problem:too-many-matchers",
            "Too many topics and patterns",
            detail,
        ),
        SubscribeError::NotGranted(_) | SubscribeError::NothingGranted => caller.refused(detail),
        _ => Problem::try_again(detail),
    }
}
