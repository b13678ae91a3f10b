//! `POST /events` with NDJSON: a batch, in order, stored whole or not at all.

use std::time::{Duration, Instant};

use axum::Json;
use axum::response::{IntoResponse, Response};
use carafe_log::Publication;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Problem;
use crate::caller::Caller;
use crate::limit::Limit;
use crate::publish::{Parameters, event_type, key, refusal, too_large};
use crate::router::App;
use crate::subscribe::topic;

/// One line: the parameters of a single publication, with the topic and the data.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    topic: String,
    #[serde(default)]
    alternates: Vec<String>,
    /// A text is taken as it is, any other value as its JSON.
    data: Value,
    event: Option<String>,
    id: Option<String>,
    retry: Option<u64>,
    #[serde(default)]
    private: bool,
}

#[derive(Serialize)]
struct Published {
    ids: Vec<String>,
}

pub(crate) async fn publish(app: &App, caller: &Caller, lines: &str) -> Result<Response, Problem> {
    let limit = app.options.event_bytes;
    let batch: Vec<_> = self::lines(lines)
        .map(|(at, line)| allowed(caller, line, limit).map_err(|problem| problem.at_line(at + 1)))
        .collect::<Result<_, _>>()?;
    if batch.is_empty() {
        return Err(bad_line("the batch is empty: send one JSON object on each line".into()));
    }
    let start = Instant::now();
    let appended = app.hub.publish_all(batch).await.map_err(refusal)?;
    app.options.metrics.stored(start);
    let fresh = appended.iter().any(|one| !one.repeated);
    let status = if fresh { StatusCode::CREATED } else { StatusCode::OK };
    let ids = appended.iter().map(|one| one.position.to_string()).collect();
    Ok((status, Json(Published { ids })).into_response())
}

/// The lines that are not empty, and their places.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty())
}

fn allowed(caller: &Caller, line: &str, limit: usize) -> Result<Publication, Problem> {
    let publication = parse(line, limit)?;
    caller.may_publish_to(publication.topics())?;
    Ok(publication)
}

fn parse(line: &str, limit: usize) -> Result<Publication, Problem> {
    let line: Line = serde_json::from_str(line).map_err(|error| bad_line(error.to_string()))?;
    let data = match line.data {
        Value::String(text) => text,
        value => value.to_string(),
    };
    if data.len() > limit {
        return Err(too_large(limit).over(Limit::EventBytes));
    }
    let alternates = line.alternates.iter().map(|text| topic(text)).collect::<Result<Vec<_>, _>>()?;
    let parameters = Parameters {
        event_type: line.event.as_deref().map(event_type).transpose()?,
        key: line.id.as_deref().map(key).transpose()?,
        retry: line.retry.map(Duration::from_millis),
        private: line.private,
    };
    Ok(parameters.apply(Publication::new(topic(&line.topic)?, data).with_alternates(alternates)))
}

fn bad_line(detail: String) -> Problem {
    Problem::bad_request("urn:carafe:problem:bad-line", "Bad line in a batch", detail)
}
