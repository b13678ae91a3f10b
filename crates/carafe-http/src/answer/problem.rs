//! Refused requests as problem documents (RFC 9457) whose detail says what to do.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use carafe_protocol::Position;
#[cfg(feature = "mercure")]
use http::Method;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde::Serialize;

use crate::answer::limit::Limit;
use crate::answer::problem_kind::ProblemKind;
use crate::answer::progress::Progress;

/// A problem document: what is wrong with a request, and what to do.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    problem_type: &'static str,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    detail: Cow<'static, str>,
    /// Boxed: a problem is returned by value everywhere, and most have none of these.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    members: Option<Box<Members>>,
    #[serde(skip)]
    header: Option<(&'static str, Cow<'static, str>)>,
    #[serde(skip)]
    limit: Option<Limit>,
}

/// What a document says beyond the members of RFC 9457.
#[derive(Clone, Debug, Default, Serialize)]
struct Members {
    /// The line of a body that is wrong, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    /// The event of an event stream that is wrong, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<u64>,
    /// How the topic has ended, and the position of its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    progress: Option<Progress>,
}

/// The place in the body of an ingest request, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Line(u64),
    Event(u64),
}

/// Response extension with what the metrics count of a problem.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    /// The last part of the problem's URN.
    pub(crate) reason: &'static str,
    pub(crate) limit: Option<Limit>,
}

impl Problem {
    /// A problem document of an app. `problem_type` is a URI that names the kind for programs, or
    /// `about:blank`; `title` names it for people.
    ///
    /// ```
    /// use axum::http::StatusCode;
    /// use carafe_http::Problem;
    ///
    /// async fn order() -> Result<String, Problem> {
    ///     let detail = "there is no such order: list the orders under /orders";
    ///     Err(Problem::new(StatusCode::NOT_FOUND, "about:blank", "Not Found", detail))
    /// }
    /// ```
    #[must_use]
    pub fn new(
        status: StatusCode,
        problem_type: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        let detail = detail.into();
        Self { problem_type, title, status, detail, members: None, header: None, limit: None }
    }

    /// A problem of one of the hub's kinds.
    pub(crate) fn of(kind: ProblemKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(kind.status(), kind.urn(), kind.title(), detail)
    }

    /// The request is right, but can be served only later: 503.
    pub(crate) fn try_again(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::of(ProblemKind::Unavailable, detail).with_header("retry-after", "1")
    }

    /// The request needs a token: 401.
    pub(crate) fn no_token(detail: &str) -> Self {
        let detail = format!("{detail}; the request has no token");
        Self::of(ProblemKind::NoToken, detail).with_header("www-authenticate", "Bearer")
    }

    /// The request has a token that is rejected: 401.
    #[cfg(feature = "auth")]
    pub(crate) fn bad_token(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::of(ProblemKind::BadToken, detail)
            .with_header("www-authenticate", "Bearer error=\"invalid_token\"")
    }

    /// The hub has nothing under this path: 404.
    pub(crate) fn not_found() -> Self {
        let detail = "there is nothing here: streams and topics are under /events";
        Self::of(ProblemKind::NotFound, detail)
    }

    /// The metrics listener has nothing under this path: 404.
    pub(crate) fn no_metrics_here() -> Self {
        let detail = "there is nothing here: metrics are under /metrics";
        Self::of(ProblemKind::NotFound, detail)
    }

    /// The publisher exceeds its rate: 429.
    pub(crate) fn too_fast(wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let detail = format!("the publish rate is exceeded: publish again in {seconds} s");
        Self::of(ProblemKind::TooFast, detail)
            .with_header("retry-after", seconds.max(1).to_string())
            .over(Limit::PublishRate)
    }

    /// The path takes other methods: 405.
    pub(crate) fn wrong_method(allow: &'static str) -> Self {
        let detail = format!("this path does not take that method: use one of {allow}");
        Self::of(ProblemKind::WrongMethod, detail).with_header("allow", allow)
    }

    /// Names the line of a batch that is wrong.
    pub(crate) fn at_line(mut self, line: usize) -> Self {
        self.detail =
            format!("line {line}: {}; nothing of the batch was stored", self.detail).into();
        self.at(Place::Line(line as u64))
    }

    /// Names the line or event of an ingest request that is wrong.
    pub(crate) fn at(mut self, place: Place) -> Self {
        let members = self.members.get_or_insert_default();
        match place {
            Place::Line(line) => members.line = Some(line),
            Place::Event(event) => members.event = Some(event),
        }
        self
    }

    /// Says how the topic has ended.
    pub(crate) fn with_end(mut self, outcome: &'static str, position: Option<Position>) -> Self {
        let members = self.members.get_or_insert_default();
        members.outcome = Some(outcome);
        members.position = position.map(|position| position.to_string());
        self
    }

    /// Says what an ingest request has stored before.
    pub(crate) fn after(mut self, progress: Progress) -> Self {
        let members = self.members.get_or_insert_default();
        members.progress = Some(progress);
        let place = match (members.line, members.event) {
            (Some(line), _) => format!("line {line}: "),
            (None, Some(event)) => format!("event {event}: "),
            (None, None) => String::new(),
        };
        let before = progress.stored + progress.repeated;
        self.detail =
            format!("{place}{}; {before} events before that are stored", self.detail).into();
        self
    }

    /// Names the limit that the request exceeds. The detail ends with the option that sets it.
    pub(crate) fn over(mut self, limit: Limit) -> Self {
        if let Some(option) = limit.option() {
            self.detail = format!("{}, or raise --{option}", self.detail).into();
        }
        self.counts_for(limit)
    }

    /// Names the limit for its counter only: the detail is complete.
    pub(crate) fn counts_for(mut self, limit: Limit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Answers with another status than is usual for the kind.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn with_header(
        mut self,
        name: &'static str,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.header = Some((name, value.into()));
        self
    }

    /// The last part of the URN.
    pub(crate) fn reason(&self) -> &'static str {
        self.problem_type.rsplit(':').next().unwrap_or(self.problem_type)
    }

    #[cfg(test)]
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    fn refused(&self) -> Refused {
        Refused { reason: self.reason(), limit: self.limit }
    }
}

/// Rejects methods other than `GET` and `HEAD`.
#[cfg(feature = "mercure")]
pub(crate) fn check_read_only(method: &Method) -> Result<(), Problem> {
    match *method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Problem::wrong_method("GET, HEAD")),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body =
            serde_json::to_vec(&self).expect("an object of texts and numbers is always JSON");
        let headers = [(CONTENT_TYPE, "application/problem+json"), (CACHE_CONTROL, "no-store")];
        let mut response = (self.status, headers, body).into_response();
        response.extensions_mut().insert(self.refused());
        if let Some((name, value)) = self.header
            // Values are numbers, method names and constants, so none is skipped.
            && let Ok(value) = HeaderValue::from_str(&value)
        {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}
