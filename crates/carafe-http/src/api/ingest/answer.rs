//! The response to an ingest request.

use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode, Version};
use serde::Serialize;

use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::answer::progress::Progress;
use crate::api::caller::Caller;
use crate::api::ingest::feed::End;
use crate::api::ingest::interruption::Interruption;
use crate::api::ingest::stop::Stop;

/// What has become of a request that has ended well, or was asked to: one line of JSON.
#[derive(Serialize)]
pub(crate) struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop: Option<Stop>,
    #[serde(flatten)]
    pub(crate) progress: Progress,
}

/// The response that says what was stored, and why no more was.
pub(crate) fn answer(caller: &Caller<'_>, version: Version, report: &Report, end: End) -> Response {
    let is_early = !matches!(end, End::Complete);
    let progress = report.progress;
    let mut response = match end {
        End::Complete | End::Interrupted(Interruption::Stopped(..)) => done(report),
        End::Failed(problem) | End::Broken(problem) => problem.after(progress).into_response(),
        End::Interrupted(Interruption::Draining) => draining().after(progress).into_response(),
        End::Interrupted(Interruption::Expired) => caller.expired().after(progress).into_response(),
        End::Interrupted(Interruption::Revoked) => caller.revoked().after(progress).into_response(),
    };
    // The rest of the body is not read to its end, so no other request can follow it. HTTP/2 has no
    // such field (RFC 9113, 8.2.2): there the stream is reset with NO_ERROR after the response.
    if is_early && version != Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn done(report: &Report) -> Response {
    let status = if report.progress.stored > 0 { StatusCode::CREATED } else { StatusCode::OK };
    let mut body = serde_json::to_vec(report).expect("numbers and texts are always JSON");
    body.push(b'\n');
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

fn draining() -> Problem {
    let detail = "the hub is shutting down: send the rest in another request in a moment";
    Problem::of(ProblemKind::Unavailable, detail).with_header("retry-after", "1")
}
