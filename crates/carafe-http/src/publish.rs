//! `POST /events/{topic}`: one event.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use carafe_hub::PublishError;
use carafe_log::{AppendError, IdempotencyKey, Publication};
use carafe_protocol::EventType;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use tokio::time::timeout;

use crate::caller::Caller;
use crate::limit::Limit;
use crate::publish_rate::{Publisher, TooFast};
use crate::query::Query;
use crate::router::App;
use crate::subscribe::{topic, topic_in_path};
use crate::{Options, Problem, batch};

const PARAMETERS: &[&str] = &["topic", "event", "id", "retry", "private"];

#[derive(Serialize)]
struct Published {
    id: String,
}

/// Publishes the body, or the batch in it.
pub(crate) async fn publish(State(app): State<App>, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = Caller::of(&app, &mut parts).await?;
    let query = Query::parse(parts.uri.query(), PARAMETERS)?;
    let in_path = topic_in_path(&parts.uri)?;
    if in_path.is_none() && query.all("topic").next().is_none() {
        return batch(&app, &caller, &query, &parts, body).await;
    }
    let mut topics = in_path.into_iter().map(Ok).chain(query.all("topic").map(topic));
    let first = topics.next().ok_or_else(no_topic)??;
    let alternates = topics.collect::<Result<Vec<_>, _>>()?;
    caller.may_publish_to(std::iter::once(&first).chain(&alternates))?;
    let parameters = Parameters::parse(&query)?;
    may_publish(&app, caller.identity, &parts, 1)?;
    let data = read(&app.options, &parts, body, Limit::EventBytes).await?;
    let data = text(data)?;
    let publication = parameters.apply(Publication::new(first, data).with_alternates(alternates));
    let start = Instant::now();
    let appended = app.hub.publish(publication).await.map_err(refusal)?;
    app.options.metrics.stored(start);
    let status = if appended.repeated { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(Published { id: appended.position.to_string() })).into_response())
}

async fn batch(
    app: &App,
    caller: &Caller,
    query: &Query,
    parts: &Parts,
    body: Body,
) -> Result<Response, Problem> {
    let content_type =
        parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/x-ndjson") {
        return Err(no_topic());
    }
    if !query.is_empty() {
        return Err(parameters_of_a_batch());
    }
    let lines = text(read(&app.options, parts, body, Limit::BatchBytes).await?)?;
    may_publish(app, caller.identity, parts, batch::lines(&lines).count())?;
    batch::publish(app, caller, &lines).await
}

/// Whether whoever asks may publish so many events now: who holds a token by its rate, wherever it is, others by their
/// address.
pub(crate) fn may_publish(
    app: &App,
    identity: Option<u64>,
    parts: &Parts,
    events: usize,
) -> Result<(), Problem> {
    let options = &app.options;
    let stranger = || options.proxies.client(&parts.extensions, &parts.headers).map(Publisher::Stranger);
    // An app that does not tell addresses sees to strangers itself.
    let Some(publisher) = identity.map(Publisher::Holder).or_else(stranger) else { return Ok(()) };
    let taken = options.publish_rate.take(publisher, events, Instant::now());
    taken.map_err(|too_fast| match too_fast {
        TooFast::Wait(time) => Problem::too_fast(time),
        TooFast::Never(burst) => too_many(burst),
    })
}

fn too_many(burst: NonZeroU32) -> Problem {
    let detail =
        format!("more than the {burst} events that may be published at once: publish smaller batches");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "urn:carafe:problem:too-large", "Too large", detail)
        .over(Limit::PublishRate)
}

/// Passed over, `private` would publish what is not for everybody.
fn parameters_of_a_batch() -> Problem {
    let detail = "the query has parameters, which a batch has in each of its lines: say there what is private, and leave the query out";
    Problem::bad_request("urn:carafe:problem:bad-parameter", "Bad parameter", detail)
}

fn no_topic() -> Problem {
    let detail = "no topic is named: post to /events/{topic}, or a batch as application/x-ndjson to /events";
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Problem::new(status, "urn:carafe:problem:no-topic", "Neither a topic nor a batch", detail)
}

/// What a publisher may say of an event beside its data, parsed and valid.
pub(crate) struct Parameters {
    pub(crate) event_type: Option<EventType>,
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) retry: Option<Duration>,
    pub(crate) private: bool,
}

impl Parameters {
    fn parse(query: &Query) -> Result<Self, Problem> {
        Ok(Self {
            event_type: query.one("event")?.map(event_type).transpose()?,
            key: query.one("id")?.map(key).transpose()?,
            retry: query.number("retry")?.map(Duration::from_millis),
            private: query.flag("private")?,
        })
    }

    pub(crate) fn apply(self, mut publication: Publication) -> Publication {
        if let Some(event_type) = self.event_type {
            publication = publication.with_type(event_type);
        }
        if let Some(key) = self.key {
            publication = publication.with_key(key);
        }
        if let Some(retry) = self.retry {
            publication = publication.with_retry(retry);
        }
        publication.with_private(self.private)
    }
}

pub(crate) fn event_type(text: &str) -> Result<EventType, Problem> {
    EventType::new(text).map_err(|error| {
        Problem::bad_request("urn:carafe:problem:bad-event-type", "Bad event type", error.to_string())
    })
}

pub(crate) fn key(text: &str) -> Result<IdempotencyKey, Problem> {
    IdempotencyKey::new(text).map_err(|error| {
        Problem::bad_request("urn:carafe:problem:bad-id", "Bad idempotency key", error.to_string())
    })
}

/// Reads a body, which is within this limit, arrives in time and is as it was published.
async fn read(options: &Options, parts: &Parts, body: Body, limit: Limit) -> Result<Bytes, Problem> {
    let most = if limit == Limit::EventBytes { options.event_bytes } else { options.batch_bytes };
    read_up_to(most, options, parts, body, limit).await
}

/// The same, where `limit` comes to another number of bytes.
pub(crate) async fn read_up_to(
    most: usize,
    options: &Options,
    parts: &Parts,
    body: Body,
    limit: Limit,
) -> Result<Bytes, Problem> {
    refuse_encoded(parts)?;
    let read = timeout(options.body_time, Limited::new(body, most).collect()).await;
    let Ok(read) = read else {
        let detail = "the body did not arrive in time: send it at once";
        let status = StatusCode::REQUEST_TIMEOUT;
        let problem = Problem::new(status, "urn:carafe:problem:body-time", "Body too slow", detail);
        return Err(problem.over(Limit::BodyTime));
    };
    read.map(http_body_util::Collected::to_bytes).map_err(|error| {
        if error.is::<LengthLimitError>() {
            return too_large(most).over(limit);
        }
        let detail = "the body broke off: send it again, and whole";
        Problem::bad_request("urn:carafe:problem:body-broken", "Body broken off", detail)
    })
}

/// A few compressed bytes can become very many.
fn refuse_encoded(parts: &Parts) -> Result<(), Problem> {
    let mut encodings = parts.headers.get_all(CONTENT_ENCODING).iter();
    if encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    let detail = "the body is compressed: send it as it is, without Content-Encoding";
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Err(Problem::new(status, "urn:carafe:problem:content-encoding", "Compressed body", detail)
        .with_header("accept-encoding", "identity"))
}

pub(crate) fn too_large(limit: usize) -> Problem {
    let detail = format!("more than the {limit} bytes allowed: publish less at once, or raise the limit");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "urn:carafe:problem:too-large", "Too large", detail)
}

pub(crate) fn text(bytes: Bytes) -> Result<String, Problem> {
    String::from_utf8(bytes.into()).map_err(|_| {
        let detail = "the data is not UTF-8, which an event stream carries: encode it, for example as base64";
        Problem::bad_request("urn:carafe:problem:bad-utf-8", "Text is not UTF-8", detail)
    })
}

/// Why the hub stored nothing, in the publisher's words.
#[expect(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
pub(crate) fn refusal(error: PublishError) -> Problem {
    let detail = error.to_string();
    match error {
        PublishError::ReservedType(_) => {
            Problem::bad_request("urn:carafe:problem:bad-event-type", "Bad event type", detail)
        }
        PublishError::Append(AppendError::TooLarge { .. }) => {
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            Problem::new(status, "urn:carafe:problem:too-large", "Too large", detail)
                .over(Limit::HistoryBytes)
        }
        PublishError::Append(AppendError::Full) => {
            let status = StatusCode::INSUFFICIENT_STORAGE;
            Problem::new(status, "urn:carafe:problem:disk-full", "The disk is full", detail)
                .with_header("retry-after", "10")
                .over(Limit::DiskFull)
        }
        PublishError::Append(AppendError::NoDescriptors) => {
            Problem::try_again(detail).over(Limit::Descriptors)
        }
        PublishError::Append(AppendError::Busy) => Problem::try_again(detail).over(Limit::WaitingBytes),
        _ => Problem::try_again(detail),
    }
}
