//! `POST /events` with NDJSON: publishes a batch in order, whole or not at all.
//!
//! The body is read and checked line by line. Neither the body nor a tree of its JSON is ever in
//! memory as a whole.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use carafe_log::{Appended, Publication};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::{Serialize, Serializer};

use crate::answer::limit::Limit;
use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::allowance::UnpaidBatch;
use crate::api::app::App;
use crate::api::body::{BodyReader, bad_utf_8, too_large};
use crate::api::caller::Caller;
use crate::api::line::{Alternates, Data, Line};
use crate::api::lines::Lines;
use crate::api::options::Options;
use crate::api::publication::{Parameters, TOPICS, event_type, key, not_stored, too_many_topics};
use crate::api::topic::topic;
use crate::policy::body_budget::Held;
use crate::policy::publish_rate::Publisher;

/// Bytes of a line besides its data: topics and other parameters.
const NAMES: usize = 64 << 10;

/// The most bytes of JSON for one byte of data: `\u0000`.
const ESCAPE: usize = 6;

/// Memory of an event besides its publication: the allocator's overhead, and its part of the
/// response.
const BESIDE: usize = 128;

/// The most memory that a batch takes, as a multiple of its text: that of events without data.
pub(crate) const GROWS: usize = 16;

/// Some editors put it at the start of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Publishes the batch in the body. A line that is rejected ends the batch; the rest is not
/// read.
pub(crate) async fn publish(
    app: &App,
    caller: &Caller<'_>,
    publisher: Option<Publisher>,
    body: BodyReader<'_>,
) -> Result<Response, Problem> {
    let mut unpaid = UnpaidBatch::new(app, publisher);
    let (batch, held) = read(app, caller, body, &mut unpaid).await?;
    if batch.is_empty() {
        return Err(bad_line("the batch is empty: send one JSON object on each line".into()));
    }
    unpaid.pay()?;
    let start = Instant::now();
    let appended = app.hub.publish_all(batch).await.map_err(not_stored)?;
    app.options.metrics.stored(start);
    Ok(answer(&appended, held))
}

/// Reads and checks the whole batch.
async fn read(
    app: &App,
    caller: &Caller<'_>,
    mut body: BodyReader<'_>,
    unpaid: &mut UnpaidBatch<'_>,
) -> Result<(Vec<Publication>, Held), Problem> {
    let options = &app.options;
    let mut batch = Batch { caller, options, unpaid, publications: Vec::new(), weight: 0 };
    let longest = options.event_bytes.saturating_mul(ESCAPE).saturating_add(NAMES);
    let mut lines = Lines::new(longest, too_long);
    while let Some(bytes) = body.next().await? {
        lines.push(&bytes, |number, line| batch.take(number, line))?;
        // An incomplete line is in memory twice while it is parsed: as received, and decoded.
        body.hold(batch.weight + 2 * lines.begun()).await?;
    }
    lines.end(|number, line| batch.take(number, line))?;
    body.hold(batch.weight).await?;
    Ok((batch.publications, body.into_held()))
}

/// The publications that were read so far.
struct Batch<'a, 'b> {
    caller: &'a Caller<'a>,
    options: &'a Options,
    unpaid: &'a mut UnpaidBatch<'b>,
    publications: Vec<Publication>,
    /// The memory that they take.
    weight: usize,
}

impl Batch<'_, '_> {
    fn take(&mut self, number: usize, line: &[u8]) -> Result<(), Problem> {
        let line =
            if number == 1 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        let line = std::str::from_utf8(line).map_err(|_| bad_utf_8())?;
        if line.trim().is_empty() {
            return Ok(());
        }
        self.unpaid.count();
        let publication = parse(line, self.options)?;
        self.caller.may_publish_to(publication.topics())?;
        self.weight += publication.weight() + BESIDE;
        self.publications.push(publication);
        Ok(())
    }
}

fn parse(line: &str, options: &Options) -> Result<Publication, Problem> {
    let event_bytes = options.event_bytes;
    let line =
        Line::parse(line, event_bytes, TOPICS).map_err(|error| bad_line(error.to_string()))?;
    let Data::Text(data) = line.data else {
        return Err(too_large(event_bytes).over(Limit::EventBytes));
    };
    let Alternates::Topics(alternates) = line.alternates else { return Err(too_many_topics()) };
    let alternates = alternates.iter().map(|text| topic(text)).collect::<Result<Vec<_>, _>>()?;
    let parameters = Parameters {
        event_type: line.event.as_deref().map(event_type).transpose()?,
        key: line.id.as_deref().map(key).transpose()?,
        retry: line.retry.map(Duration::from_millis),
        private: line.private,
    };
    let publication = Publication::new(topic(&line.topic)?, data).with_alternates(alternates);
    Ok(parameters.apply(publication, options))
}

#[derive(Serialize)]
struct Published<'a> {
    #[serde(serialize_with = "ids")]
    ids: &'a [Appended],
}

fn ids<S: Serializer>(appended: &[Appended], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(appended.iter().map(|one| one.position.to_string()))
}

/// The response. Its memory counts as that of the body until the client has received it.
fn answer(appended: &[Appended], mut held: Held) -> Response {
    let body =
        serde_json::to_vec(&Published { ids: appended }).expect("a list of texts is always JSON");
    held.shrink_to(body.len());
    let fresh = appended.iter().any(|one| !one.repeated);
    let status = if fresh { StatusCode::CREATED } else { StatusCode::OK };
    let json = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, json, Body::from(Bytes::from_owner(HeldBytes { body, _held: held }))).into_response()
}

/// Bytes, and their memory reservation.
struct HeldBytes {
    body: Vec<u8>,
    _held: Held,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

fn too_long(longest: usize) -> Problem {
    let detail =
        format!("more than the {longest} bytes that a line may have: publish less in one event");
    Problem::of(ProblemKind::TooLarge, detail).over(Limit::EventBytes)
}

fn bad_line(detail: String) -> Problem {
    Problem::of(ProblemKind::BadLine, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reservation is made from the length of the batch, before it is read.
    #[test]
    fn no_line_takes_more_memory_than_so_many_times_its_text() {
        let alternates = format!(
            "{{\"topic\":\"a\",\"data\":1,\"alternates\":[{}\"b\"]}}",
            "\"b\",".repeat(900)
        );
        for line in ["{\"topic\":\"a\",\"data\":1}", &alternates] {
            let weight = parse(line, &Options::default()).unwrap().weight() + BESIDE;
            assert!(weight <= GROWS * (line.len() + 1), "{weight}: {line}");
        }
    }
}
