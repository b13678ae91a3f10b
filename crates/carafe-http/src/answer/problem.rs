//! Refusals as RFC 9457 problem documents that say what to do.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde::Serialize;

use crate::answer::limit::Limit;

/// A refusal: what is wrong, and what to do.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    problem_type: &'static str,
    title: &'static str,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    detail: Cow<'static, str>,
    /// The line of a batch that is wrong, from 1 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip)]
    header: Option<(&'static str, Cow<'static, str>)>,
    #[serde(skip)]
    limit: Option<Limit>,
}

/// Goes with the answer, for who counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    /// The last word of the problem's URN.
    pub(crate) reason: &'static str,
    pub(crate) limit: Option<Limit>,
}

impl Problem {
    /// A problem of this kind. `kind` is a URN that names it for programs, `title` names it for
    /// people.
    #[must_use]
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            problem_type: kind,
            title,
            status,
            detail: detail.into(),
            line: None,
            header: None,
            limit: None,
        }
    }

    /// The request says something that cannot be: 400.
    pub(crate) fn bad_request(
        kind: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kind, title, detail)
    }

    /// Nothing is wrong with the request, but it has to be made again later: 503.
    pub(crate) fn try_again(detail: impl Into<Cow<'static, str>>) -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, "urn:carafe:problem:unavailable", "Not available now", detail)
            .with_header("retry-after", "1")
    }

    /// Only who holds a token may do this: 401.
    pub(crate) fn no_token(detail: &str) -> Self {
        let kind = "urn:carafe:problem:no-token";
        Self::new(
            StatusCode::UNAUTHORIZED,
            kind,
            "No token",
            format!("{detail}; there is no token with the request"),
        )
        .with_header("www-authenticate", "Bearer")
    }

    /// A token was given that is not taken: 401.
    pub(crate) fn bad_token(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "urn:carafe:problem:bad-token", "Bad token", detail)
            .with_header("www-authenticate", "Bearer error=\"invalid_token\"")
    }

    /// There is nothing under this path: 404.
    pub(crate) fn not_found() -> Self {
        let detail = "there is nothing here: streams and topics are under /events";
        Self::new(StatusCode::NOT_FOUND, "urn:carafe:problem:not-found", "Not found", detail)
    }

    /// There is nothing under this path, where metrics are told: 404.
    pub(crate) fn no_metrics_here() -> Self {
        let detail = "there is nothing here: metrics are under /metrics";
        Self::new(StatusCode::NOT_FOUND, "urn:carafe:problem:not-found", "Not found", detail)
    }

    /// The publisher is faster than it may be: 429.
    pub(crate) fn too_fast(wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let detail =
            format!("more events than may be published in that time: publish again in {seconds} s");
        let status = StatusCode::TOO_MANY_REQUESTS;
        Self::new(status, "urn:carafe:problem:too-fast", "Too fast", detail)
            .with_header("retry-after", seconds.max(1).to_string())
            .over(Limit::PublishRate)
    }

    /// The path knows other methods: 405.
    pub(crate) fn wrong_method(allow: &'static str) -> Self {
        let detail = format!("this path does not take that method: use one of {allow}");
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self::new(status, "urn:carafe:problem:wrong-method", "Method not allowed", detail)
            .with_header("allow", allow)
    }

    pub(crate) fn at_line(mut self, line: usize) -> Self {
        self.detail =
            format!("line {line}: {}; nothing of the batch was stored", self.detail).into();
        self.line = Some(line);
        self
    }

    /// It is this limit that was met. What to do about it ends with the option that sets it.
    pub(crate) fn over(mut self, limit: Limit) -> Self {
        if let Some(option) = limit.option() {
            self.detail = format!("{}, or raise --{option}", self.detail).into();
        }
        self.counts_for(limit)
    }

    /// It is this limit that was met, and it is said already what to do.
    pub(crate) fn counts_for(mut self, limit: Limit) -> Self {
        self.limit = Some(limit);
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

    /// The last word of its URN.
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

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body =
            serde_json::to_vec(&self).expect("an object of texts and numbers is always JSON");
        let headers = [(CONTENT_TYPE, "application/problem+json"), (CACHE_CONTROL, "no-store")];
        let mut response = (self.status, headers, body).into_response();
        response.extensions_mut().insert(self.refused());
        if let Some((name, value)) = self.header
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
