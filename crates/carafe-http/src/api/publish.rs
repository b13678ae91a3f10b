//! `POST /events/{topic}`: one event.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use carafe_hub::PublishError;
use carafe_log::{AppendError, IdempotencyKey, Publication};
use carafe_protocol::{EventType, Topic};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Request, StatusCode};
use serde::Serialize;

use crate::answer::limit::Limit;
use crate::answer::problem::Problem;
use crate::api::batch;
use crate::api::body::{BodyReader, Most};
use crate::api::caller::Caller;
use crate::api::query::Query;
use crate::api::router::App;
use crate::api::subscribe::{topic, topic_in_path};
use crate::policy::publish_rate::{Publisher, TooFast};

const PARAMETERS: &[&str] = &["topic", "event", "id", "retry", "private"];

#[derive(Serialize)]
struct Published {
    id: String,
}

/// The most topics that an event may have.
pub(crate) const TOPICS: usize = 1000;

/// Publishes the body, or the batch in it. Nothing of it is read for who may publish nothing.
pub(crate) async fn publish(
    State(app): State<App>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = Caller::of(&app, &mut parts).await?;
    caller.may_publish()?;
    let query = Query::parse(parts.uri.query(), PARAMETERS)?;
    match topics(&query, &parts)? {
        Some(topics) => one(&app, &caller, topics, &query, &parts, body).await,
        None => batch(&app, &caller, &query, &parts, body).await,
    }
}

/// The topics of an event, the canonical one first; `None` where the query and the path name none.
fn topics(query: &Query, parts: &Parts) -> Result<Option<(Topic, Vec<Topic>)>, Problem> {
    let in_path = topic_in_path(&parts.uri)?;
    let mut topics = in_path.into_iter().map(Ok).chain(query.all("topic").map(topic));
    let Some(first) = topics.next().transpose()? else { return Ok(None) };
    let alternates = topics.take(TOPICS).collect::<Result<Vec<_>, _>>()?;
    if alternates.len() < TOPICS { Ok(Some((first, alternates))) } else { Err(too_many_topics()) }
}

async fn one(
    app: &App,
    caller: &Caller,
    (first, alternates): (Topic, Vec<Topic>),
    query: &Query,
    parts: &Parts,
    body: Body,
) -> Result<Response, Problem> {
    caller.may_publish_to(std::iter::once(&first).chain(&alternates))?;
    let parameters = Parameters::parse(query)?;
    let publisher = publisher(app, caller.identity, parts);
    may_publish(app, publisher, 1)?;
    let most =
        Most { bytes: app.options.event_bytes, limit: Limit::EventBytes, copies: 1, grows: 1 };
    let body = BodyReader::begin(&app.options, publisher, parts, body, most).await?;
    // Held until the event is stored: then it is the log's.
    let (data, _held) = body.text().await?;
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
    let publisher = publisher(app, caller.identity, parts);
    // How many events it has is known only when it is read. None may be published now, whatever it
    // has, if not one may.
    may_publish_one(app, publisher)?;
    let most = Most {
        bytes: app.options.batch_bytes,
        limit: Limit::BatchBytes,
        copies: 1,
        grows: batch::GROWS,
    };
    let body = BodyReader::begin(&app.options, publisher, parts, body, most).await?;
    batch::publish(app, caller, publisher, body).await
}

/// Who publishes, as limits tell publishers from each other: who holds a token by it, wherever they
/// are, others by their address. `None` where the app does not tell addresses: it sees to strangers
/// itself.
pub(crate) fn publisher(app: &App, identity: Option<u64>, parts: &Parts) -> Option<Publisher> {
    let proxies = &app.options.proxies;
    let stranger = || proxies.client(&parts.extensions, &parts.headers).map(Publisher::Address);
    identity.map(Publisher::Holder).or_else(stranger)
}

/// Takes so many events off what the publisher may publish now.
pub(crate) fn may_publish(
    app: &App,
    publisher: Option<Publisher>,
    events: usize,
) -> Result<(), Problem> {
    let Some(publisher) = publisher else { return Ok(()) };
    app.options.publish_rate.take(publisher, events, Instant::now()).map_err(too_fast)
}

/// What has been read of a batch that is not stored yet. If it never is, whatever the reason, its events are taken off all the same:
/// reading them has cost as much.
pub(crate) struct Unpaid<'a> {
    app: &'a App,
    publisher: Option<Publisher>,
    /// Events that were read; `None` when they are paid for.
    events: Option<usize>,
}

impl<'a> Unpaid<'a> {
    pub(crate) fn new(app: &'a App, publisher: Option<Publisher>) -> Self {
        Self { app, publisher, events: Some(0) }
    }

    /// One more event has come.
    pub(crate) fn count(&mut self) {
        self.events = self.events.map(|events| events + 1);
    }

    /// Takes the whole batch off what the publisher may publish now. If that is not as much, nothing is taken, and the
    /// publisher is told when to come back; but for a batch that is larger than may ever come at once.
    pub(crate) fn pay(mut self) -> Result<(), Problem> {
        let (Some(publisher), Some(events)) = (self.publisher, self.events) else { return Ok(()) };
        let taken = self.app.options.publish_rate.take(publisher, events, Instant::now());
        if !matches!(taken, Err(TooFast::Never(_))) {
            self.events = None;
        }
        taken.map_err(too_fast)
    }
}

impl Drop for Unpaid<'_> {
    fn drop(&mut self) {
        if let (Some(events), Some(publisher)) = (self.events, self.publisher) {
            // Of a line that did not end, much may have come.
            self.app.options.publish_rate.spend(publisher, events.max(1), Instant::now());
        }
    }
}

/// Whether the publisher may publish an event now. It is not taken off.
fn may_publish_one(app: &App, publisher: Option<Publisher>) -> Result<(), Problem> {
    let Some(publisher) = publisher else { return Ok(()) };
    app.options.publish_rate.check(publisher, Instant::now()).map_err(too_fast)
}

fn too_fast(too_fast: TooFast) -> Problem {
    match too_fast {
        TooFast::Wait(time) => Problem::too_fast(time),
        TooFast::Never(burst) => too_many(burst),
    }
}

pub(crate) fn too_many_topics() -> Problem {
    let detail =
        format!("the event has more than {TOPICS} topics: publish to fewer, or in several events");
    Problem::bad_request("urn:carafe:problem:too-many-topics", "Too many topics", detail)
        .over(Limit::Topics)
}

fn too_many(burst: NonZeroU32) -> Problem {
    let detail = format!(
        "more than the {burst} events that may be published at once: publish smaller batches, or raise --publish-burst"
    );
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "urn:carafe:problem:too-large", "Too large", detail)
        .counts_for(Limit::PublishRate)
}

/// Passed over, `private` would publish what is not for everybody.
fn parameters_of_a_batch() -> Problem {
    let detail = "the query has parameters, which a batch has in each of its lines: say there what is private, and leave the query out";
    Problem::bad_request("urn:carafe:problem:bad-parameter", "Bad parameter", detail)
}

fn no_topic() -> Problem {
    let detail =
        "no topic is named: post to /events/{topic}, or a batch as application/x-ndjson to /events";
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
        Problem::bad_request(
            "urn:carafe:problem:bad-event-type",
            "Bad event type",
            error.to_string(),
        )
    })
}

pub(crate) fn key(text: &str) -> Result<IdempotencyKey, Problem> {
    IdempotencyKey::new(text).map_err(|error| {
        Problem::bad_request("urn:carafe:problem:bad-id", "Bad idempotency key", error.to_string())
    })
}

/// FallbackReason the hub stored nothing, in the publisher's words.
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
        PublishError::Append(AppendError::Busy) => {
            Problem::try_again(detail).over(Limit::WaitingBytes)
        }
        _ => Problem::try_again(detail),
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use carafe_log::ReadError;
    use http::header::RETRY_AFTER;

    use super::*;

    #[test]
    fn who_publishes_with_a_key_that_cannot_be_looked_up_is_told_to_come_back() {
        let error = AppendError::Keys(ReadError::Disk("for the test".into()));
        let problem = refusal(error.into());
        assert!(
            problem.detail().contains("nothing was stored")
                && problem.detail().contains("publish again")
        );
        let response = problem.into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key(RETRY_AFTER));
    }
}
