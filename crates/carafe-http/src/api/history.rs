//! `GET /events…` with JSON: one page of history, or the first event that a client waits for.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use carafe_hub::{PageLimit, PageReader, Start, Subscribe, SubscribeError};
use carafe_log::Access;
use carafe_protocol::{Position, Topic};
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE, ETAG, IF_NONE_MATCH, VARY};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::time::timeout;

use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::accept::prefers_json;
use crate::api::app::App;
use crate::api::caller::Caller;
use crate::api::heartbeat::duration;
use crate::api::held_body::held_body;
use crate::api::last_event_id;
use crate::api::query::Query;
use crate::api::refusal::{limit_met, refusal};
use crate::observe::stream_record::log_refused;
use crate::policy::revocations::bearer::revoked;
use crate::policy::subscribers::Permit;

/// The parameters of pages, which streams do not have.
pub(crate) const PARAMETERS: [&str; 2] = ["limit", "wait"];

/// The maximum number of events of a page. A client that asks for more gets this many.
const MAX_EVENTS: usize = 1000;

/// The longest time that a client may wait for an event. A longer one is replaced by it. Proxies
/// often end a request after a minute without an answer.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What a client asks for that wants a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    limit: PageLimit,
    wait: Option<Duration>,
    /// Whether the URL says everything that the page depends on: that it is JSON, and after which
    /// position it begins.
    is_in_url: bool,
    /// Whether the page is a part of a snapshot, which changes.
    is_latest: bool,
}

/// Whether a request is for a page, before its query is checked.
pub(crate) fn is_page(headers: &HeaderMap, query: Option<&str>) -> bool {
    let mut parts = query.unwrap_or_default().split('&');
    parts.any(|part| part == "format=json") || prefers_json(headers)
}

/// What a client asks for, if it wants a page.
pub(crate) fn asked(headers: &HeaderMap, query: &Query) -> Result<Option<Asked>, Problem> {
    let format = match query.one("format")? {
        None => None,
        Some("json") => Some(()),
        Some(_) => return Err(bad("unknown format: use format=json, or leave it out")),
    };
    if format.is_none() && !prefers_json(headers) {
        return match PARAMETERS.into_iter().find(|name| query.all(name).next().is_some()) {
            Some(_) => Err(bad("`limit` and `wait` are for pages: add format=json")),
            None => Ok(None),
        };
    }
    // Not `earliest`, which moves when history is trimmed.
    let id = query.all(last_event_id::PARAMETER).filter(|id| !id.is_empty()).last();
    let is_in_url = format.is_some()
        && last_event_id::in_header(headers).is_none()
        && id.is_some_and(|id| id.parse::<Position>().is_ok());
    let is_latest = query.flag("latest")?;
    Ok(Some(Asked { limit: limit(query)?, wait: wait(query)?, is_in_url, is_latest }))
}

fn limit(query: &Query) -> Result<PageLimit, Problem> {
    let default = PageLimit::default();
    let events = match query.number::<usize>("limit")? {
        Some(0) => return Err(bad("`limit` is zero: ask for one event at least")),
        Some(events) => events,
        // All of the last N, if they fit into one page.
        None => query.number("last")?.unwrap_or(0).max(default.events),
    };
    Ok(PageLimit { events: events.min(MAX_EVENTS), ..default })
}

fn wait(query: &Query) -> Result<Option<Duration>, Problem> {
    let Some(text) = query.one("wait")? else { return Ok(None) };
    let is_none = text.trim_end_matches(|unit: char| unit.is_ascii_lowercase()) == "0";
    match duration(text) {
        _ if is_none => Ok(None),
        Some(time) => Ok(Some(time.min(LONGEST_WAIT))),
        None => Err(bad("`wait` is no time: use a whole number and ms, s or m, as in wait=30s")),
    }
}

fn bad(detail: &'static str) -> Problem {
    Problem::of(ProblemKind::BadParameter, detail)
}

/// Answers with a page.
pub(crate) async fn page(
    app: &App,
    parts: &Parts,
    caller: &Caller<'_>,
    request: Subscribe,
    asked: &Asked,
) -> Result<Response, Problem> {
    let permit = admit(app, parts)?;
    let refused = |error: SubscribeError| page_refusal(caller, &error);
    let mut reader = app.hub.read_page(request, asked.limit).await.map_err(refused)?;
    if let Some(wait) = asked.wait {
        tokio::select! {
            () = wait_for(&mut reader, wait, caller.rights.expires) => {}
            () = revoked(caller.bearer.as_ref()) => return Err(caller.revoked()),
        }
    }
    let page = reader.finish().await.map_err(|error| refused(error.into()))?;
    app.options.metrics.page();
    // The history before the page may be kept by then, so a page with a gap is not fixed.
    let caching = match page.is_full && page.gap.is_none() && !asked.is_latest {
        false => Caching::None,
        true if asked.is_in_url && !has_credentials(caller, parts) => {
            Caching::of(app.options.shared_page_age)
        }
        true => Caching::Revalidate,
    };
    Ok(answer(permit, page.to_json(), &caching, &parts.headers))
}

/// A page takes memory like a stream, and a client may wait for it as long: it counts as one.
fn admit(app: &App, parts: &Parts) -> Result<Permit, Problem> {
    let options = &app.options;
    let client = options.proxies.client(&parts.extensions, &parts.headers);
    options.subscribers.admit(client).map_err(|limit| {
        log_refused(limit, client);
        Problem::try_again("as many streams and pages are open as may be: try again in a moment")
            .over(limit)
    })
}

async fn wait_for(reader: &mut PageReader, wait: Duration, expires: Option<SystemTime>) {
    // A page that is answered after the token has expired may show what its holder may no longer
    // see.
    let left = expires.map(|at| at.duration_since(SystemTime::now()).unwrap_or_default());
    let _is_over = timeout(left.map_or(wait, |left| left.min(wait)), reader.wait()).await;
}

fn page_refusal(caller: &Caller<'_>, error: &SubscribeError) -> Problem {
    limit_met(error).into_iter().fold(refusal(caller, error), Problem::counts_for)
}

/// Whether the answer may differ from that to other clients. An app or a proxy may look at cookies
/// and passwords that the hub does not know.
fn has_credentials(caller: &Caller<'_>, parts: &Parts) -> bool {
    let sent = [AUTHORIZATION, COOKIE].iter().any(|name| parts.headers.contains_key(name));
    sent || !caller.is_anonymous()
}

/// What caches may do with a page.
enum Caching {
    /// Nothing: it will have more events.
    None,
    /// The client's own may keep it, and asks the hub each time whether it is still the same.
    Revalidate,
    /// All caches may show it for so long.
    Shared(Duration),
}

impl Caching {
    fn of(age: Duration) -> Self {
        if age.is_zero() { Self::Revalidate } else { Self::Shared(age) }
    }

    fn header(&self) -> HeaderValue {
        match self {
            Self::None => HeaderValue::from_static("no-store"),
            Self::Revalidate => HeaderValue::from_static("private, no-cache"),
            // Not `public`: it lets caches answer requests that have a token, too (RFC 9111, 3.5).
            Self::Shared(age) => HeaderValue::try_from(format!("max-age={}", age.as_secs()))
                .expect("digits are a header"),
        }
    }
}

fn answer(permit: Permit, json: String, caching: &Caching, asked: &HeaderMap) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, caching.header());
    headers.append(VARY, HeaderValue::from_static("authorization, cookie"));
    if !matches!(caching, Caching::None) {
        let tag = entity_tag(json.as_bytes());
        let is_known = matches(asked, tag.as_bytes());
        headers.insert(ETAG, tag);
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // With the permit: a client that does not read its page holds memory until it does.
    *response.body_mut() = held_body(json.into_bytes(), permit);
    response
}

/// A strong entity tag: the same bytes have the same tag. It may change with the program's version.
fn entity_tag(bytes: &[u8]) -> HeaderValue {
    let half = |seed| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(seed);
        hasher.write(bytes);
        hasher.finish()
    };
    HeaderValue::try_from(format!("\"{:016x}{:016x}\"", half(0), half(1)))
        .expect("digits and quotes are a header")
}

/// Whether the client has this page already (RFC 9110, 13.1.2).
fn matches(headers: &HeaderMap, tag: &[u8]) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter();
    let mut tags = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    tags.any(|known| {
        let known = known.trim_ascii();
        // Compared weakly: a proxy that compresses makes a tag weak.
        known == b"*" || known.strip_prefix(b"W/").unwrap_or(known) == tag
    })
}

/// When a client wants nothing but a 204.
pub(crate) struct Unless {
    /// If there is no event in history, and nobody feeds a topic.
    pub(crate) absent: bool,
    /// If all topics have ended.
    pub(crate) ended: bool,
    /// Whether the client has a position: then it wants the rest, and the end, also of topics that
    /// have ended.
    pub(crate) resumes: bool,
}

impl Unless {
    /// Reads the parameters `absent` and `ended`.
    pub(crate) fn parse(headers: &HeaderMap, query: &Query) -> Result<Self, Problem> {
        let is_asked = |name| match query.one(name)? {
            None => Ok(false),
            Some("204") => Ok(true),
            Some(_) => Err(bad("`absent` and `ended` have one value: use 204, or leave them out")),
        };
        let (absent, ended) = (is_asked("absent")?, is_asked("ended")?);
        let id = || last_event_id::requested(headers, query.all(last_event_id::PARAMETER));
        // Most requests have neither parameter, and their ID does not matter here.
        Ok(Self { absent, ended, resumes: (absent || ended) && id().is_some() })
    }
}

/// Whether there is nothing that the client wants, at whatever node: a client that is told so does
/// not come back.
pub(crate) async fn is_nothing(
    app: &App,
    access: &Access,
    unless: &Unless,
    request: &Subscribe,
) -> Result<bool, SubscribeError> {
    if !unless.absent && !unless.ended {
        return Ok(false);
    }
    request.check()?;
    // Before the look: what comes after it is news.
    let position = app.hub.position();
    if !is_nothing_here(app, access, unless, request).await? {
        return Ok(false);
    }
    app.hub.catch_up().await?;
    let has_more = app.hub.position() != position;
    Ok(!has_more || is_nothing_here(app, access, unless, request).await?)
}

/// The same, as far as this node knows.
async fn is_nothing_here(
    app: &App,
    access: &Access,
    Unless { absent, ended, resumes }: &Unless,
    request: &Subscribe,
) -> Result<bool, SubscribeError> {
    if app.hub.has_ended(request) && (*ended || *resumes) {
        return Ok(!resumes);
    }
    let is_fed = |topic: &Topic| app.feeding.is_fed(topic, access.covers_topic(topic));
    if !absent || request.topics().any(is_fed) {
        return Ok(false);
    }
    let limit = PageLimit { events: 1, ..PageLimit::default() };
    // Not the last entry, which may be an end.
    let oldest = app.hub.page(request.clone().from(Start::Earliest), limit).await?;
    Ok(oldest.events.is_empty())
}

/// There is nothing to read or to resume: `EventSource` stops by itself.
pub(crate) fn nothing() -> Response {
    (StatusCode::NO_CONTENT, [(CACHE_CONTROL, "no-store")]).into_response()
}
