//! `GET /events…` opens an event stream, or answers with a page of history; `HEAD /events…` answers
//! with the current position.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{AppendHeaders, IntoResponse, Response};
use carafe_hub::{
    Client, Format, Heartbeat, OnGap, Start, Subscribe, SubscribeError, Subscription,
};
use carafe_log::ReadError;
use carafe_protocol::{Topic, TopicMatcher, TopicPattern};
use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Version};
use tracing::error;

use crate::answer::headers::{POSITION, head_of_a_stream, stream_headers};
use crate::answer::limit::Limit;
use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::app::App;
use crate::api::caller::Caller;
use crate::api::heartbeat;
use crate::api::history::{self, Unless};
use crate::api::hub_body::{self, HubBody};
use crate::api::last_event_id;
use crate::api::life;
use crate::api::options::Options;
use crate::api::query::Query;
use crate::api::refusal::{bad_pattern, limit_met, refusal};
use crate::api::topic::{topic, topic_in_path};
use crate::api::topic_state;
use crate::observe::metrics::{DeliveryPath, FallbackReason, Metrics};
use crate::observe::stream_record::{StreamRecord, log_refused};
use crate::observe::stream_request::StreamRequest;
use crate::policy::client::hub_client;
use crate::policy::subscribers::Permit;
use crate::server::handoff::Handoff;

const PARAMETERS: &[&str] = &[
    "topic",
    "pattern",
    last_event_id::PARAMETER,
    "earliest",
    "last",
    "latest",
    "envelope",
    "control",
    "on_gap",
    "format",
    "limit",
    "wait",
    "absent",
    "ended",
    heartbeat::PARAMETER,
];

/// The factor by which a client waits longer than usual if a limit is met: a full hub must not be
/// asked all the time.
const OVER_LIMIT: u32 = 10;

/// Capacity for the headers of a stream's response.
const HEADERS: usize = 12;

/// The base of that wait if the usual time is shorter.
const SHORTEST: Duration = Duration::from_millis(500);

/// Opens a stream: the response has the headers and the position at once, then events.
pub(crate) async fn subscribe(app: &App, request: Request) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let caller = Caller::of(app, &mut parts).await?;
    let asked = parse(app, &caller, &parts).await?;
    // Another error is reported when the stream or page is opened.
    let (access, Asked { unless, request, .. }) = (&caller.rights.subscribe, &asked);
    if history::is_nothing(app, access, unless, request).await.unwrap_or(false) {
        return Ok(history::nothing());
    }
    match &asked.page {
        Some(page) => history::page(app, &parts, &caller, asked.request, page).await,
        None => open_stream(app, &parts, &caller, asked).await,
    }
}

async fn open_stream(
    app: &App,
    parts: &Parts,
    caller: &Caller<'_>,
    asked: Asked,
) -> Result<Response, Problem> {
    let Asked { request, format, heartbeat, described, .. } = asked;
    match open(app, parts, request).await {
        Ok(Opened::Stream(permit, mut subscription)) => {
            // `EventSource` stops reconnecting.
            if subscription.is_over_everywhere().await {
                return Ok(history::nothing());
            }
            let frames = subscription.into_frames(format).with_heartbeat(heartbeat);
            let expires = caller.rights.expires;
            let (options, handoff) = (&app.options, Handoff::choose(parts, &frames));
            Ok(stream(options, permit, described, handoff, |handoff, record| {
                let record = record.with_bearer(caller.bearer.clone());
                HubBody::new(frames, handoff, options, Some(options.retry), expires, record)
            }))
        }
        Ok(Opened::Later(answer)) => Ok(answer),
        Err(error) => Err(refusal(caller, &error)),
    }
}

/// The outcome of a valid request for a stream.
pub(crate) enum Opened {
    Stream(Permit, Subscription),
    /// A stream that only tells the client when to reconnect.
    Later(Response),
}

/// Opens a subscription, if the limits on streams allow one more.
pub(crate) async fn open(
    app: &App,
    parts: &Parts,
    request: Subscribe,
) -> Result<Opened, SubscribeError> {
    let options = &app.options;
    let client = options.proxies.client(&parts.extensions, &parts.headers);
    let permit = match options.subscribers.admit(client) {
        Ok(permit) => permit,
        Err(limit) => {
            log_refused(limit, client);
            return Ok(over(options, parts.version, limit));
        }
    };
    let error = match app.hub.subscribe(request).await {
        Ok(subscription) => return Ok(Opened::Stream(permit, subscription)),
        Err(error) => error,
    };
    if let Some(limit) = limit_met(&error) {
        return Ok(over(options, parts.version, limit));
    }
    match error {
        SubscribeError::Draining => {
            Ok(Opened::Later(come_back(&options.metrics, parts.version, "draining", options.retry)))
        }
        SubscribeError::Read(ReadError::Behind) => {
            Ok(Opened::Later(behind(options, parts.version)))
        }
        // The same request would fail again: the client gets a problem document.
        SubscribeError::Read(ReadError::TooMuchWork { .. } | ReadError::TooManyLatest { .. }) => {
            Err(error)
        }
        SubscribeError::Read(error) => {
            error!(%error, "cannot open a stream: the history cannot be read");
            let retry = OVER_LIMIT * options.retry.max(SHORTEST);
            Ok(Opened::Later(come_back(&options.metrics, parts.version, "unreadable", retry)))
        }
        error => Err(error),
    }
}

/// The response with the stream. A stream that a shard may take has its connection for itself.
pub(crate) fn stream(
    options: &Options,
    permit: Permit,
    asked: Option<Box<StreamRequest>>,
    handoff: Result<Handoff, FallbackReason>,
    body: impl FnOnce(Option<Handoff>, StreamRecord) -> HubBody,
) -> Response {
    let path = match &handoff {
        Ok(_) => DeliveryPath::Shard,
        Err(reason) => DeliveryPath::Hyper(*reason),
    };
    let closes = handoff.is_ok().then_some((CONNECTION, HeaderValue::from_static("close")));
    let record = StreamRecord::open(&options.metrics, permit, asked, path);
    let mut response = Response::new(Body::new(body(handoff.ok(), record)));
    response.headers_mut().reserve(HEADERS);
    (stream_headers(), AppendHeaders(closes), response).into_response()
}

/// The answer to a client that knows more than this node, which does not come so far in time.
pub(crate) fn behind(options: &Options, version: Version) -> Response {
    come_back(&options.metrics, version, "behind", options.retry)
}

fn over(options: &Options, version: Version, limit: Limit) -> Opened {
    options.metrics.limited(limit);
    let retry = OVER_LIMIT * options.retry.max(SHORTEST);
    Opened::Later(come_back(&options.metrics, version, limit.name(), retry))
}

/// A stream that only tells the client when to reconnect. `EventSource` never retries after 4xx and
/// 5xx, but does after a stream that ends. The connection is closed meanwhile, so that waiting
/// clients hold no descriptors.
pub(crate) fn come_back(
    metrics: &Metrics,
    version: Version,
    reason: &'static str,
    retry: Duration,
) -> Response {
    metrics.refused("subscribe", reason);
    let closes =
        (version != Version::HTTP_2).then_some((CONNECTION, HeaderValue::from_static("close")));
    (stream_headers(), AppendHeaders(closes), hub_body::come_back(retry)).into_response()
}

/// Answers with the current position. A stream that resumes there misses no later event. For one
/// topic it has the state of that, for whoever feeds it.
pub(crate) async fn position(app: &App, request: Request) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let caller = Caller::of(app, &mut parts).await?;
    let Asked { request, only, .. } = parse(app, &caller, &parts).await?;
    let may_read = request.check().map_err(|error| refusal(&caller, &error));
    let state = topic_state::headers(app, &caller, &parts, only.as_ref(), may_read).await?;
    let position = [(POSITION, app.hub.position().to_string())];
    let response = (position, state, head_of_a_stream()).into_response();
    // A stop is for the producer.
    let fed = request.topics().filter(|topic| caller.may_publish_to([*topic]).is_ok());
    Ok(life::tell_stop(&app.hub, fed, response))
}

/// What a request asks for.
struct Asked {
    request: Subscribe,
    /// A page of history, in place of a stream.
    page: Option<history::Asked>,
    unless: Unless,
    /// The topic, if the request names one and nothing else.
    only: Option<Topic>,
    format: Format,
    heartbeat: Heartbeat,
    /// For the log and the console, if they show that.
    described: Option<Box<StreamRequest>>,
}

async fn parse(app: &App, caller: &Caller<'_>, parts: &Parts) -> Result<Asked, Problem> {
    let query = Query::parse(parts.uri.query(), PARAMETERS)?;
    let page = history::asked(&parts.headers, &query)?;
    let (start, format) = (start(&parts.headers, &query, page.is_some())?, format(&query)?);
    let heartbeat = heartbeat::requested(query.one(heartbeat::PARAMETER)?, &app.options)?;
    let client = hub_client(&app.options.proxies, caller.identity, parts);
    let matchers = matchers(app, caller, parts, &query, client).await?;
    let identity = caller.rights.identity.as_deref();
    let described = StreamRequest::if_used(app.audience.as_ref(), &matchers, identity);
    let only = match &matchers[..] {
        [TopicMatcher::Exact(topic)] => Some(topic.clone()),
        _ => None,
    };
    let unless = Unless::parse(&parts.headers, &query)?;
    let request = match matchers.is_empty() {
        true => Subscribe::to_everything(),
        false => Subscribe::to_all(matchers),
    };
    let request = request.from(start).on_gap(on_gap(&query)?).by(client);
    let request = request.with_access(caller.rights.subscribe.clone());
    Ok(Asked { request, page, unless, only, format, heartbeat, described })
}

/// What the path and the query ask for; nothing stands for all topics.
async fn matchers(
    app: &App,
    caller: &Caller<'_>,
    parts: &Parts,
    query: &Query,
    client: Option<Client>,
) -> Result<Vec<TopicMatcher>, Problem> {
    let in_path = topic_in_path(&parts.uri)?;
    let topics: BTreeSet<_> = query.all("topic").collect();
    let patterns: BTreeSet<_> = query.all("pattern").collect();
    // The limits are checked before any pattern is compiled, which takes time.
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
    Ok(matchers)
}

async fn pattern(app: &App, client: Option<Client>, text: &str) -> Result<TopicPattern, Problem> {
    let pattern = match TopicPattern::is_compiled(text) {
        true => {
            let text = text.to_owned();
            app.hub.compile(client, move || TopicPattern::new(&text)).await
        }
        false => TopicPattern::new(text),
    };
    pattern.map_err(bad_pattern)
}

/// Where the stream or page starts. If the request does not say, a stream starts with new events,
/// and a page with the oldest.
fn start(headers: &HeaderMap, query: &Query, is_page: bool) -> Result<Start, Problem> {
    let (earliest, latest) = (query.flag("earliest")?, query.flag("latest")?);
    if latest && (earliest || query.one("last")?.is_some()) {
        return Err(bad("`latest`, `earliest` and `last` say where to begin: use one of them"));
    }
    let id = last_event_id::requested(headers, query.all(last_event_id::PARAMETER));
    Ok(match id {
        Some(id) if id == "earliest" => Start::Earliest,
        // A snapshot is read page by page. A stream delivers all events after the ID.
        Some(id) if latest && is_page => id.parse().map_or(Start::Latest, Start::LatestAfter),
        Some(id) => Start::AfterId(id),
        None if earliest => Start::Earliest,
        None if latest => Start::Latest,
        None => match query.number("last")? {
            Some(count) => Start::Last(count),
            None if is_page => Start::Earliest,
            None => Start::Tail,
        },
    })
}

fn format(query: &Query) -> Result<Format, Problem> {
    let format = match query.one("envelope")? {
        None => Format::Plain,
        Some("json") => Format::Enveloped,
        Some(_) => return Err(bad("unknown envelope: use envelope=json, or leave it out")),
    };
    match query.one("control")? {
        None | Some("events") => Ok(format),
        Some("comments") => Ok(format.commented()),
        Some(_) => Err(bad("unknown control: use control=comments, or leave it out")),
    }
}

fn on_gap(query: &Query) -> Result<OnGap, Problem> {
    match query.one("on_gap")? {
        None => Ok(OnGap::Nearest),
        Some("live") => Ok(OnGap::Live),
        Some("earliest") => Ok(OnGap::Earliest),
        Some(_) => Err(bad("unknown on_gap: use on_gap=live or on_gap=earliest, or leave it out")),
    }
}

fn bad(detail: &'static str) -> Problem {
    Problem::of(ProblemKind::BadParameter, detail)
}
