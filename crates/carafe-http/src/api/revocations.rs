//! `/revocations`: `POST` revokes the tokens of a subject or one token, `DELETE` lifts that, and
//! `GET` lists what is in force.

use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::answer::limit::Limit;
use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::allowance;
use crate::api::app::App;
use crate::api::body::{BodyReader, Most, is_of_type};
use crate::api::caller::Caller;
use crate::api::publication::not_stored;
use crate::api::query::Query;
use crate::policy::client::publisher;
use crate::policy::revocations::{Revocation, RevokeError, Revoked};

/// The most bytes of a body: the longest names with escapes.
const BODY_BYTES: usize = 16 << 10;

/// Answers requests for `/revocations`. All need the right to revoke.
pub(crate) async fn revocations(
    State(app): State<App>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = Caller::of(&app, &mut parts).await?;
    caller.may_revoke()?;
    match parts.method {
        Method::GET | Method::HEAD => list(&app).await,
        Method::POST => revoke(&app, &caller, &parts, body).await,
        Method::DELETE => lift(&app, &caller, &parts).await,
        _ => Err(Problem::wrong_method("DELETE, GET, HEAD, POST")),
    }
}

#[derive(Serialize)]
struct List {
    revocations: Vec<Revoked>,
}

async fn list(app: &App) -> Result<Response, Problem> {
    let revocations = app.options.revocations.list().await?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(List { revocations })).into_response())
}

/// What a client asks for. Times are in seconds, as in tokens.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    subject: Option<String>,
    token_id: Option<String>,
    issuer: Option<String>,
    issued_before: Option<u64>,
    #[serde(rename = "for")]
    lasts: Option<u64>,
}

async fn revoke(
    app: &App,
    caller: &Caller<'_>,
    parts: &Parts,
    body: Body,
) -> Result<Response, Problem> {
    check_json(&parts.headers)?;
    let publisher = publisher(&app.options.proxies, caller.identity, parts);
    allowance::take(app, publisher, 1)?;
    let most = Most { bytes: BODY_BYTES, limit: Limit::TokenBytes, copies: 2, grows: 1 };
    let body = BodyReader::begin(&app.options, publisher, parts, body, most).await?;
    let (text, _held) = body.text().await?;
    let wanted: Wanted = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    let (is_new, revoked) = app.options.revocations.revoke(&revocation(wanted)?).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(CACHE_CONTROL, "no-store")], Json(revoked)).into_response())
}

async fn lift(app: &App, caller: &Caller<'_>, parts: &Parts) -> Result<Response, Problem> {
    let publisher = publisher(&app.options.proxies, caller.identity, parts);
    allowance::take(app, publisher, 1)?;
    let query = Query::parse(parts.uri.query(), &["subject", "token_id", "issuer"])?;
    let text = |name| query.one(name).map(|value| value.map(ToOwned::to_owned));
    let (subject, token_id, issuer) = (text("subject")?, text("token_id")?, text("issuer")?);
    let wanted = Wanted { subject, token_id, issuer, issued_before: None, lasts: None };
    match app.options.revocations.lift(&revocation(wanted)?).await? {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => {
            let detail = "there is no such revocation: list them with GET /revocations";
            Err(Problem::of(ProblemKind::NotFound, detail))
        }
    }
}

fn revocation(wanted: Wanted) -> Result<Revocation, Problem> {
    let mut revocation = match (wanted.subject, wanted.token_id) {
        (Some(subject), None) => Revocation::of_subject(subject),
        (None, Some(token_id)) => Revocation::of_token(token_id),
        _ => return Err(bad("give either `subject` or `token_id`".into())),
    };
    if let Some(issuer) = wanted.issuer {
        revocation = revocation.with_issuer(issuer);
    }
    if let Some(seconds) = wanted.issued_before {
        let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        let time = time.ok_or_else(|| bad("`issued_before` is too far away".into()))?;
        revocation = revocation.issued_before(time);
    }
    match wanted.lasts {
        Some(0) => Err(bad("`for` is zero: give the seconds that the revocation lasts".into())),
        Some(seconds) => Ok(revocation.lasting(Duration::from_secs(seconds))),
        None => Ok(revocation),
    }
}

/// A form of a foreign page cannot send JSON without asking first.
fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    if is_of_type(headers, "application/json") {
        return Ok(());
    }
    let detail = "a revocation is JSON: send it as application/json, such as {\"subject\":\"ann\"}";
    let problem = Problem::of(ProblemKind::BadParameter, detail);
    Err(problem.with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

fn bad(detail: String) -> Problem {
    Problem::of(ProblemKind::BadParameter, detail)
}

impl From<RevokeError> for Problem {
    fn from(error: RevokeError) -> Self {
        let detail = error.to_string();
        match error {
            RevokeError::Bad(_) | RevokeError::Over => bad(detail),
            RevokeError::TooMany { .. } => Self::try_again(detail).over(Limit::Revocations),
            RevokeError::Publish(error) => not_stored(error),
            RevokeError::Read(_) | RevokeError::NoHub => Self::try_again(detail),
        }
    }
}
