//! `POST /events` with NDJSON: publishes a batch in order, whole or not at all.
//!
//! The body is read and checked line by line. Neither the body nor a tree of its JSON is ever in
//! memory as a whole.

use std::time::Instant;

use axum::response::{IntoResponse, Response};
use carafe_log::{Appended, Publication};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde::{Serialize, Serializer};

use crate::answer::problem::Problem;
use crate::api::allowance::UnpaidBatch;
use crate::api::app::App;
use crate::api::body::{BodyReader, bad_utf_8};
use crate::api::caller::Caller;
use crate::api::held_body::held_body;
use crate::api::line_event::{LineEvent, bad_line, longest_line, too_long};
use crate::api::lines::Lines;
use crate::api::options::Options;
use crate::api::publication::not_stored;
use crate::policy::body_budget::Held;
use crate::policy::publish_rate::Publisher;

/// Memory of an event besides its publication: the allocator's overhead, and its part of the
/// response.
const BESIDE: usize = 128;

/// The most memory that a batch takes, as a multiple of its text: that of events without data.
pub(crate) const GROWS: usize = 16;

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
    caller.check_revoked()?;
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
    let mut lines = Lines::new(longest_line(options), too_long);
    while let Some(bytes) = body.next().await? {
        let mut input = &bytes[..];
        while let Some((number, line)) =
            lines.next(&mut input).map_err(|problem| problem.at_line(lines.number()))?
        {
            batch.take(&line).map_err(|problem| problem.at_line(number))?;
        }
        // An incomplete line is in memory twice while it is parsed: as received, and decoded.
        body.hold(batch.weight + 2 * lines.begun()).await?;
    }
    if let Some((number, line)) = lines.last() {
        batch.take(&line).map_err(|problem| problem.at_line(number))?;
    }
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
    fn take(&mut self, line: &[u8]) -> Result<(), Problem> {
        let line = std::str::from_utf8(line).map_err(|_| bad_utf_8())?;
        if line.trim().is_empty() {
            return Ok(());
        }
        self.unpaid.count();
        let publication = LineEvent::parse(line, self.options)?.publication()?;
        self.caller.may_publish_to(publication.topics())?;
        self.weight += publication.weight() + BESIDE;
        self.publications.push(publication);
        Ok(())
    }
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
    (status, json, held_body(body, held)).into_response()
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
            let options = Options::default();
            let event = LineEvent::parse(line, &options).unwrap();
            let weight = event.publication().unwrap().weight() + BESIDE;
            assert!(weight <= GROWS * (line.len() + 1), "{weight}: {line}");
        }
    }
}
