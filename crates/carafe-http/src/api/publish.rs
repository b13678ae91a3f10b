//! `POST /events/{topic}`: publishes one event, or passes a batch or an open body on.

use std::time::Instant;

use axum::body::Body;
use axum::response::Response;
use carafe_log::Publication;
use carafe_protocol::Topic;
use http::request::Parts;
use http::{HeaderMap, Request, Uri};

use crate::answer::limit::Limit;
use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::app::App;
use crate::api::body::{BodyReader, Most, is_of_type};
use crate::api::caller::Caller;
use crate::api::ingest::handler::ingest;
use crate::api::ingest::request::{Form, NDJSON, Template};
use crate::api::life::Life;
use crate::api::publication::{Parameters, TOPICS, not_stored, too_many_topics};
use crate::api::published::published;
use crate::api::query::Query;
use crate::api::topic::{topic, topic_in_path};
use crate::api::{allowance, batch, life};
use crate::policy::client::publisher;

const PARAMETERS: &[&str] = &[
    "topic", "event", "id", "retry", "private", "split", "stream", "on_abort", "end", "reason",
    "stop", "reopen",
];

/// Publishes the event or the batch in the body. The body is not read if the caller may publish
/// nothing.
pub(crate) async fn publish(app: &App, request: Request<Body>) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = Caller::of(app, &mut parts).await?;
    caller.may_publish_or_stop()?;
    let query = Query::parse(parts.uri.query(), PARAMETERS)?;
    let (life, topics) = (Life::parse(&query)?, topics(&query, &parts)?);
    if let Life::Stop { reason } = life {
        let topic = one_topic(topics)?;
        return life::stop(app, &caller, (topic, reason), &query, &parts, body).await;
    }
    caller.may_publish()?;
    if let Some(form) = Form::of(&query, &parts, topics.is_some())? {
        let request = (form, Template::parse(&query, topics, life)?);
        // Boxed: the future of a single event stays small.
        return Box::pin(ingest(app, &caller, request, &parts, body)).await;
    }
    match topics {
        Some(topics) => one(app, &caller, (topics, life), &query, &mut parts, body).await,
        None => batch(app, &caller, &query, &parts, body).await,
    }
}

/// The topics of an event, the canonical one first; `None` if path and query name none.
fn topics(query: &Query, parts: &Parts) -> Result<Option<(Topic, Vec<Topic>)>, Problem> {
    let in_path = topic_in_path(&parts.uri)?;
    let mut topics = in_path.into_iter().map(Ok).chain(query.all("topic").map(topic));
    let Some(first) = topics.next().transpose()? else { return Ok(None) };
    let alternates = topics.take(TOPICS).collect::<Result<Vec<_>, _>>()?;
    if alternates.len() < TOPICS { Ok(Some((first, alternates))) } else { Err(too_many_topics()) }
}

fn one_topic(topics: Option<(Topic, Vec<Topic>)>) -> Result<Topic, Problem> {
    match topics {
        Some((topic, alternates)) if alternates.is_empty() => Ok(topic),
        Some(_) => Err(life::several_topics("stop")),
        None => Err(no_topic()),
    }
}

async fn one(
    app: &App,
    caller: &Caller<'_>,
    ((first, alternates), life): ((Topic, Vec<Topic>), Life),
    query: &Query,
    parts: &mut Parts,
    body: Body,
) -> Result<Response, Problem> {
    caller.may_publish_to(std::iter::once(&first).chain(&alternates))?;
    life.check(caller, (&first, &alternates))?;
    let parameters = Parameters::parse(query)?;
    let publisher = publisher(&app.options.proxies, caller.identity, parts);
    allowance::take(app, publisher, 1)?;
    let most =
        Most { bytes: app.options.event_bytes, limit: Limit::EventBytes, copies: 1, grows: 1 };
    let body = BodyReader::begin(&app.options, publisher, parts, body, most).await?;
    free_head(parts);
    // The memory stays reserved until the event is stored: from then on it is the log's.
    let (data, _held) = body.text().await?;
    caller.check_revoked()?;
    let event = Publication::new(first.clone(), data).with_alternates(alternates);
    let batch = life.publications(event, parameters, app)?;
    // An event and the end of its topic.
    if batch.len() > 1 {
        allowance::take(app, publisher, batch.len() - 1)?;
    }
    let start = Instant::now();
    let appended = app.hub.publish_all(batch).await.map_err(not_stored)?;
    app.options.metrics.stored(start);
    // The hub has one answer for each publication.
    let response = published(appended[appended.len() - 1]);
    Ok(life::tell_stop(&app.hub, [&first], response))
}

/// Drops what refers to the buffer that the connection has read the head into. Otherwise it needs
/// another buffer while the event is stored.
fn free_head(parts: &mut Parts) {
    parts.uri = Uri::default();
    parts.headers = HeaderMap::new();
}

async fn batch(
    app: &App,
    caller: &Caller<'_>,
    query: &Query,
    parts: &Parts,
    body: Body,
) -> Result<Response, Problem> {
    if !is_of_type(&parts.headers, NDJSON) {
        return Err(no_topic());
    }
    if !query.is_empty() {
        return Err(parameters_of_a_batch());
    }
    let publisher = publisher(&app.options.proxies, caller.identity, parts);
    // The number of events is known only after the body is read. A publisher without allowance for
    // a single event is rejected before that.
    allowance::check(app, publisher)?;
    let most = Most {
        bytes: app.options.batch_bytes,
        limit: Limit::BatchBytes,
        copies: 1,
        grows: batch::GROWS,
    };
    let body = BodyReader::begin(&app.options, publisher, parts, body, most).await?;
    batch::publish(app, caller, publisher, body).await
}

/// Ignoring the query would be unsafe: `private` would be lost, and the events be public.
fn parameters_of_a_batch() -> Problem {
    let detail = "the query has parameters, but a batch has them in its lines: write `private` \
                  and others there, and remove the query";
    Problem::of(ProblemKind::BadParameter, detail)
}

fn no_topic() -> Problem {
    let detail =
        "no topic is named: post to /events/{topic}, or a batch as application/x-ndjson to /events";
    Problem::of(ProblemKind::NoTopic, detail)
}
