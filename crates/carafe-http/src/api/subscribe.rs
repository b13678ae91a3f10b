//! `GET /events…` and `HEAD /events…`.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{AppendHeaders, IntoResponse, Response};
use carafe_hub::{Client, Format, Start, Subscribe, SubscribeError, Subscription};
use carafe_log::ReadError;
use carafe_protocol::{BadTopic, Topic, TopicMatcher, TopicPattern};
use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Uri, Version};
use tracing::error;

use crate::answer::headers::{POSITION, head_of_a_stream, stream_headers};
use crate::answer::limit::Limit;
use crate::answer::problem::Problem;
use crate::api::caller::Caller;
use crate::api::hub_body;
use crate::api::hub_body::HubBody;
use crate::api::options::Options;
use crate::api::query::{Query, percent_decode};
use crate::api::router::App;
use crate::observe::metrics::{DeliveryPath, FallbackReason};
use crate::observe::stream_record;
use crate::observe::stream_record::StreamRecord;
use crate::policy::client::sharer;
use crate::policy::subscribers::Permit;
use crate::server::handoff::Handoff;

const PARAMETERS: &[&str] = &["topic", "pattern", "last_event_id", "earliest", "last", "envelope"];

/// How much longer than usual clients wait that were over a limit: a hub that is full is not to be
/// asked all the time.
const OVER_LIMIT: u32 = 10;

/// Headers of an answer with a stream, and a few more.
const HEADERS: usize = 12;

/// What is longer than no time at all.
const SHORTEST: Duration = Duration::from_millis(500);

/// Answers with the stream: headers and the position at once, then events.
pub(crate) async fn subscribe(
    State(app): State<App>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let caller = Caller::of(&app, &mut parts).await?;
    let (request, format) = parse(&app, &caller, &parts).await?;
    match open(&app, &parts, request).await {
        Ok(Opened::Stream(permit, subscription)) => {
            let (options, frames) = (&app.options, subscription.into_frames(format));
            let handoff = Handoff::choose(&parts, &frames);
            Ok(stream(options, permit, handoff, |handoff, open| {
                HubBody::new(frames, handoff, options, Some(options.retry), caller.expires, open)
            }))
        }
        Ok(Opened::Later(answer)) => Ok(answer),
        Err(error) => Err(refusal(&caller, &error)),
    }
}

/// What asking for a stream comes to that is granted.
pub(crate) enum Opened {
    Stream(Permit, Subscription),
    /// The client is told to come back.
    Later(Response),
}

/// Opens a subscription, if there is room for one more.
pub(crate) async fn open(
    app: &App,
    parts: &Parts,
    request: Subscribe,
) -> Result<Opened, SubscribeError> {
    let options = &app.options;
    let client = options.proxies.client(&parts.extensions, &parts.headers);
    let permit = match stream_record::admit(options, client) {
        Ok(permit) => permit,
        Err(limit) => return Ok(Opened::Later(come_back_later(options, parts.version, limit))),
    };
    match app.hub.subscribe(request).await {
        Ok(subscription) => Ok(Opened::Stream(permit, subscription)),
        Err(SubscribeError::Draining) => {
            Ok(Opened::Later(come_back(options, parts.version, "draining", options.retry)))
        }
        Err(SubscribeError::TooManyComplexPatterns(_)) => {
            Ok(over(options, parts.version, Limit::ComplexPatterns))
        }
        Err(SubscribeError::TooManyComplexPatternsOfClient { .. }) => {
            Ok(over(options, parts.version, Limit::ComplexPatternsPerClient))
        }
        // Trying again would not help.
        Err(error @ SubscribeError::Read(ReadError::TooMuchWork { .. })) => Err(error),
        Err(SubscribeError::Read(error)) => {
            error!(%error, "a stream cannot begin because its history cannot be read");
            let retry = OVER_LIMIT * options.retry.max(SHORTEST);
            Ok(Opened::Later(come_back(options, parts.version, "unreadable", retry)))
        }
        Err(error) => Err(error),
    }
}

/// The stream, on a connection that serves nothing else where a shard can take it.
pub(crate) fn stream(
    options: &Options,
    permit: Permit,
    handoff: Result<Handoff, FallbackReason>,
    body: impl FnOnce(Option<Handoff>, StreamRecord) -> HubBody,
) -> Response {
    let way =
        handoff.as_ref().map_or_else(|why| DeliveryPath::Hyper(*why), |_| DeliveryPath::Shard);
    let closes =
        (way == DeliveryPath::Shard).then_some((CONNECTION, HeaderValue::from_static("close")));
    let open = StreamRecord::new(options, permit, way);
    let mut response = Response::new(Body::new(body(handoff.ok(), open)));
    response.headers_mut().reserve(HEADERS);
    (stream_headers(), AppendHeaders(closes), response).into_response()
}

fn over(options: &Options, version: Version, limit: Limit) -> Opened {
    options.metrics.limited(limit);
    Opened::Later(come_back_later(options, version, limit))
}

fn come_back_later(options: &Options, version: Version, limit: Limit) -> Response {
    come_back(options, version, limit.name(), OVER_LIMIT * options.retry.max(SHORTEST))
}

/// EventSource never retries after 4xx and 5xx: a stream that only says when to come back makes it
/// try again. Until then its connection is closed, so that those who wait hold no descriptors.
fn come_back(
    options: &Options,
    version: Version,
    reason: &'static str,
    retry: Duration,
) -> Response {
    options.metrics.refused("subscribe", reason);
    let closes =
        (version != Version::HTTP_2).then_some((CONNECTION, HeaderValue::from_static("close")));
    (stream_headers(), AppendHeaders(closes), hub_body::come_back(retry)).into_response()
}

/// Answers with the current position, after which a stream misses nothing that is published from
/// now on.
pub(crate) async fn position(
    State(app): State<App>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let caller = Caller::of(&app, &mut parts).await?;
    let (request, _) = parse(&app, &caller, &parts).await?;
    request.check().map_err(|error| refusal(&caller, &error))?;
    Ok(([(POSITION, app.hub.position().to_string())], head_of_a_stream()).into_response())
}

/// The topic in the path, percent-decoded; `None` for `/events` itself.
pub(crate) fn topic_in_path(uri: &Uri) -> Result<Option<Topic>, Problem> {
    uri.path().strip_prefix("/events/").map(|rest| topic(&percent_decode(rest)?)).transpose()
}

pub(crate) fn topic(text: &str) -> Result<Topic, Problem> {
    Topic::new(text).map_err(|error| {
        let kind = "urn:carafe:problem:bad-topic";
        let problem = Problem::bad_request(kind, "Bad topic", error.to_string());
        if matches!(error, BadTopic::TooLong(_)) {
            problem.over(Limit::TopicBytes)
        } else {
            problem
        }
    })
}

async fn parse(app: &App, caller: &Caller, parts: &Parts) -> Result<(Subscribe, Format), Problem> {
    let query = Query::parse(parts.uri.query(), PARAMETERS)?;
    let (start, format) = (start(&parts.headers, &query)?, format(&query)?);
    let in_path = topic_in_path(&parts.uri)?;
    let topics: BTreeSet<_> = query.all("topic").collect();
    let patterns: BTreeSet<_> = query.all("pattern").collect();
    let client = sharer(&app.options, caller.identity, parts);
    // Before any is compiled.
    let compiled = patterns.iter().filter(|text| TopicPattern::is_compiled(text)).count();
    let count = usize::from(in_path.is_some()) + topics.len() + patterns.len();
    let may = app.hub.check_matchers(count, compiled, client);
    may.map_err(|error| refusal(caller, &error))?;
    let mut matchers: Vec<TopicMatcher> = in_path.map(TopicMatcher::Exact).into_iter().collect();
    for text in topics {
        matchers.push(topic(text)?.into());
    }
    for text in patterns {
        matchers.push(pattern(app, client, text).await?.into());
    }
    let request =
        if matchers.is_empty() { Subscribe::to_everything() } else { Subscribe::to_all(matchers) };
    Ok((request.with_access(caller.rights.subscribe.clone()).from(start).by(client), format))
}

async fn pattern(app: &App, client: Option<Client>, text: &str) -> Result<TopicPattern, Problem> {
    let pattern = match TopicPattern::is_compiled(text) {
        true => {
            let text = text.to_owned();
            app.hub.compile(client, move || TopicPattern::new(&text)).await
        }
        false => TopicPattern::new(text),
    };
    pattern.map_err(|error| {
        Problem::bad_request("urn:carafe:problem:bad-pattern", "Bad pattern", error.to_string())
    })
}

/// The header first: a browser that reconnects sends it, and repeats the URL it was first given.
fn start(headers: &HeaderMap, query: &Query) -> Result<Start, Problem> {
    let header =
        headers.get("last-event-id").map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    let id = match header.filter(|id| !id.is_empty()) {
        Some(id) => Some(id),
        None => query.one("last_event_id")?.filter(|id| !id.is_empty()).map(Into::into),
    };
    Ok(match id {
        Some(id) if id == "earliest" => Start::Earliest,
        Some(id) => Start::AfterId(id),
        None if query.flag("earliest")? => Start::Earliest,
        None => query.number("last")?.map_or(Start::Tail, Start::Last),
    })
}

fn format(query: &Query) -> Result<Format, Problem> {
    match query.one("envelope")? {
        None => Ok(Format::Plain),
        Some("json") => Ok(Format::Enveloped),
        Some(_) => {
            let detail = "there is no such envelope: use envelope=json, or leave it out";
            Err(Problem::bad_request("urn:carafe:problem:bad-parameter", "Bad parameter", detail))
        }
    }
}

fn refusal(caller: &Caller, error: &SubscribeError) -> Problem {
    let detail = error.to_string();
    match error {
        SubscribeError::TooManyMatchers { .. } => Problem::bad_request(
            "urn:carafe:problem:too-many-matchers",
            "Too many topics and patterns",
            detail,
        )
        .over(Limit::Matchers),
        SubscribeError::TooComplex { .. } => too_complex(detail),
        SubscribeError::Read(error @ ReadError::TooMuchWork { .. }) => {
            let kind = "urn:carafe:problem:too-much-work";
            Problem::bad_request(kind, "Too much to search", error.to_string())
                .over(Limit::PatternTests)
        }
        SubscribeError::NotGranted(_) | SubscribeError::NothingGranted => caller.refused(detail),
        _ => Problem::try_again(detail),
    }
}

pub(crate) fn too_complex(detail: String) -> Problem {
    let kind = "urn:carafe:problem:too-complex";
    Problem::bad_request(kind, "Too many complex patterns", detail)
        .over(Limit::ComplexPatternsPerClient)
}
