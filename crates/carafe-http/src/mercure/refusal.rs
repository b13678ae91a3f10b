//! Rejected requests, as each version reports them.

use axum::response::{IntoResponse, Response};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};

use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::auth::refused::Refused;
use crate::mercure::state::Adapter;
use crate::mercure::version::Version;

/// A problem document with a challenge that says how to authenticate (RFC 6750, RFC 9728).
pub(crate) struct Refusal {
    problem: Box<Problem>,
    challenge: Option<String>,
}

impl Refusal {
    /// The request needs a token and has none.
    pub(crate) fn no_token(adapter: &Adapter, detail: &str) -> Self {
        let metadata =
            adapter.metadata.as_ref().map(|url| format!("Bearer resource_metadata=\"{url}\""));
        let challenge = Some(metadata.unwrap_or_else(|| "Bearer".into()));
        Self { problem: Problem::no_token(detail).into(), challenge }
    }

    /// The request has a token that is rejected.
    pub(crate) fn bad_token(adapter: &Adapter, detail: String) -> Self {
        Self::with_error(adapter, Problem::bad_token(detail), "invalid_token")
    }

    /// The token is sent in an invalid way.
    pub(crate) fn bad_request(adapter: &Adapter, detail: &str) -> Self {
        let problem = Problem::of(ProblemKind::BadToken, detail.to_owned())
            .with_status(StatusCode::BAD_REQUEST);
        Self::with_error(adapter, problem, "invalid_request")
    }

    /// The token does not grant this. Version 0.x answers 401 whenever it is about tokens.
    pub(crate) fn not_granted(adapter: &Adapter, version: Version, detail: String) -> Self {
        let (status, error) = match version {
            Version::Zero => (StatusCode::UNAUTHORIZED, "insufficient_scope"),
            Version::One => (StatusCode::FORBIDDEN, "insufficient_scope"),
        };
        let problem = Problem::of(ProblemKind::Forbidden, detail).with_status(status);
        Self::with_error(adapter, problem, error)
    }

    fn with_error(adapter: &Adapter, problem: Problem, error: &str) -> Self {
        let metadata =
            adapter.metadata.as_ref().map(|url| format!(", resource_metadata=\"{url}\""));
        let challenge = format!("Bearer error=\"{error}\"{}", metadata.unwrap_or_default());
        Self { problem: problem.into(), challenge: Some(challenge) }
    }

    pub(crate) fn of_token(adapter: &Adapter, refused: &Refused) -> Self {
        Self::bad_token(adapter, refused.to_string())
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem: problem.into(), challenge: None }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.problem.into_response();
        // The URL in it was parsed, so all its characters are valid in a header.
        if let Some(Ok(challenge)) = self.challenge.map(|text| HeaderValue::from_str(&text)) {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}
