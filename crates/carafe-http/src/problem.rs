//! Refusals as RFC 9457 problem documents that say what to do.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use serde::Serialize;

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
    header: Option<(&'static str, &'static str)>,
}

impl Problem {
    /// A problem of this kind. `kind` is a URN that names it for programs, `title` names it for people.
    #[must_use]
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { problem_type: kind, title, status, detail: detail.into(), line: None, header: None }
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

    /// The path knows other methods: 405.
    pub(crate) fn wrong_method(allow: &'static str) -> Self {
        let detail = format!("this path does not take that method: use one of {allow}");
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self::new(status, "urn:carafe:problem:wrong-method", "Method not allowed", detail)
            .with_header("allow", allow)
    }

    pub(crate) fn at_line(mut self, line: usize) -> Self {
        self.detail = format!("line {line}: {}; nothing of the batch was stored", self.detail).into();
        self.line = Some(line);
        self
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).expect("an object of texts and numbers is always JSON");
        let headers = [(CONTENT_TYPE, "application/problem+json"), (CACHE_CONTROL, "no-store")];
        let mut response = (self.status, headers, body).into_response();
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}
