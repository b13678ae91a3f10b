//! `GET`, `HEAD` and `QUERY`: a stream of updates.

use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::response::Response;
use carafe_hub::{Client, Format, Heartbeat, Subscribe, SubscribeError};
use carafe_log::ReadError;
use http::request::Parts;
use http::{Method, Request, StatusCode};

use crate::answer::headers::head_of_a_stream;
use crate::answer::limit::Limit;
use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::body::{BodyReader, Most};
use crate::api::heartbeat;
use crate::api::hub_body::HubBody;
use crate::api::refusal::problem;
use crate::api::subscribe::{self, Opened};
use crate::mercure::cursor::Cursor;
use crate::mercure::encoder;
use crate::mercure::form_data::{FormData, is_form};
use crate::mercure::mercure_caller::MercureCaller;
use crate::mercure::presence::{Present, Selector};
use crate::mercure::refusal::Refusal;
use crate::mercure::selector::{self, MatchType};
use crate::mercure::state::Adapter;
use crate::mercure::version::Version;
use crate::observe::stream_request::StreamRequest;
use crate::policy::client::{hub_client, publisher};
use crate::server::handoff::Handoff;

/// The most bytes of the body of a `QUERY`: all matchers, escaped.
const QUERY_BYTES: usize = 1 << 20;

/// Opens a stream: the response has the headers and a comment at once, then updates.
pub(crate) async fn subscribe(
    adapter: &Adapter,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let in_url = FormData::parse(parts.uri.query().unwrap_or_default())?;
    let version = Version::of_subscription(&parts.method, &in_url);
    let caller = MercureCaller::subscriber(adapter, version, &in_url, &parts).await?;
    let parameters = parameters(adapter, &caller, &parts, in_url, body).await?;
    let heartbeat = heartbeat(adapter, &parameters)?;
    let client = hub_client(&adapter.app.options.proxies, caller.identity, &parts);
    let asked = asked(adapter, version, &parameters, client).await?;
    let access = caller.rights.subscribe.clone();
    let identity = caller.rights.identity.as_deref();
    let described = StreamRequest::if_used(adapter.app.audience.as_ref(), &asked, identity);
    let request = Subscribe::to_all(asked).with_limit(selector::SELECTORS).by(client);
    let request = request.with_access(access.clone());
    request.check().map_err(|error| refusal(adapter, &caller, &error))?;
    let cursor = Cursor::find(adapter, version, &parameters, &parts, &access, client).await;
    let cursor = match cursor {
        Ok(cursor) => cursor,
        Err(error) => return unreadable(adapter, &parts, &error),
    };
    let request = request.from(cursor.start);
    let mut response = match parts.method {
        Method::HEAD => head_of_a_stream(),
        _ => {
            let asked = Asked { request, heartbeat, described };
            stream(adapter, &caller, &parts, &parameters, asked).await?
        }
    };
    response.headers_mut().extend(cursor.header);
    Ok(response)
}

/// The requested ID cannot be looked up.
fn unreadable(adapter: &Adapter, parts: &Parts, error: &ReadError) -> Result<Response, Refusal> {
    match error {
        // `EventSource` would not come back after an error.
        ReadError::Behind => Ok(subscribe::behind(&adapter.app.options, parts.version)),
        error => {
            let detail = format!("the history cannot be read: {error}");
            Err(Problem::try_again(detail).into())
        }
    }
}

/// The parameters of the URL, and those of the body of a `QUERY` (RFC 10008). The last cursor
/// counts, and that of the URL wins: so its parameters come last.
async fn parameters(
    adapter: &Adapter,
    caller: &MercureCaller,
    parts: &Parts,
    in_url: FormData,
    body: Body,
) -> Result<FormData, Refusal> {
    if parts.method.as_str() != "QUERY" {
        return Ok(in_url);
    }
    if !is_form(&parts.headers) {
        let detail = "the body is no form: send it as application/x-www-form-urlencoded";
        let problem = Problem::of(ProblemKind::BadParameter, detail);
        return Err(problem.with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE).into());
    }
    let publisher = publisher(&adapter.app.options.proxies, caller.identity, parts);
    let most = Most { bytes: QUERY_BYTES, limit: Limit::Matchers, copies: 3, grows: 1 };
    let body = BodyReader::begin(&adapter.app.options, publisher, parts, body, most).await?;
    let (text, _held) = body.text().await?;
    Ok(FormData::parse(&text)?.and(in_url)?)
}

async fn asked(
    adapter: &Adapter,
    version: Version,
    parameters: &FormData,
    client: Option<Client>,
) -> Result<Vec<carafe_protocol::TopicMatcher>, Problem> {
    match (version, &adapter.resource) {
        (Version::Zero, _) => selector::all_zero(&adapter.app.hub, client, parameters).await,
        (Version::One, Some(resource)) => {
            selector::all_one(&adapter.app.hub, client, parameters, resource).await
        }
        (Version::One, None) => {
            let detail = "this hub has no public URL, which Mercure 1.0 requires: subscribe with \
             `topic`, as in 0.x";
            Err(Problem::of(ProblemKind::BadParameter, detail))
        }
    }
}

/// The interval that the client requests. A heartbeat is a comment here: streams carry only
/// updates.
fn heartbeat(adapter: &Adapter, parameters: &FormData) -> Result<Heartbeat, Problem> {
    let value = parameters.filled(heartbeat::PARAMETER);
    if value.is_some_and(|value| value.starts_with("event")) {
        let detail = "a stream of Mercure carries only updates: request an interval, such as \
                      heartbeat=4s";
        return Err(Problem::of(ProblemKind::BadParameter, detail));
    }
    heartbeat::requested(value, &adapter.app.options)
}

/// A request for a stream.
struct Asked {
    request: Subscribe,
    heartbeat: Heartbeat,
    described: Option<Box<StreamRequest>>,
}

async fn stream(
    adapter: &Adapter,
    caller: &MercureCaller,
    parts: &Parts,
    parameters: &FormData,
    Asked { request, heartbeat, described }: Asked,
) -> Result<Response, Refusal> {
    let (permit, subscription) = match subscribe::open(&adapter.app, parts, request).await {
        Ok(Opened::Stream(permit, subscription)) => (permit, subscription),
        Ok(Opened::Later(answer)) => return Ok(answer),
        Err(error) => return Err(refusal(adapter, caller, &error)),
    };
    let present = register(adapter, caller, parameters).await;
    let frames = subscription
        .into_frames(Format::custom(encoder::of(caller.version)))
        .with_heartbeat(heartbeat);
    let (options, handoff) = (&adapter.app.options, Handoff::choose(parts, &frames));
    Ok(subscribe::stream(options, permit, described, handoff, |handoff, open| {
        let open = open.with_bearer(caller.bearer.clone());
        let open = match present {
            Some(present) => open.with_attachment(present),
            None => open,
        };
        HubBody::new(frames, handoff, options, None, ends(adapter, caller), open)
    }))
}

/// Registers the subscription and publishes that it is active, if subscriptions are reported.
async fn register(
    adapter: &Adapter,
    caller: &MercureCaller,
    parameters: &FormData,
) -> Option<Present> {
    let subscriptions = adapter.subscriptions.as_ref()?;
    let selectors = parameters.pairs().filter_map(|pair| selector(caller.version, pair));
    let present = subscriptions.register(&adapter.app.hub, selectors, &caller.payloads);
    present.announce().await;
    Some(present)
}

/// What a parameter asks for, if anything.
fn selector(version: Version, (name, text): (&str, &str)) -> Option<Selector> {
    let text = text.to_owned();
    match version {
        Version::Zero => (name == "topic").then_some(Selector::Topic { topic: text }),
        Version::One => {
            let match_type = MatchType::of_parameter(name)?.name();
            Some(Selector::Matcher { match_type, text })
        }
    }
}

/// When the stream ends: with its token, or at its maximum age.
fn ends(adapter: &Adapter, caller: &MercureCaller) -> Option<SystemTime> {
    let old = adapter.max_age.and_then(|age| SystemTime::now().checked_add(spread(age)));
    caller.rights.expires.into_iter().chain(old).min()
}

/// A time within the last fifth of an age: streams that were opened together do not end
/// together.
fn spread(age: Duration) -> Duration {
    age.mul_f64(rand::random_range(0.8..=1.0))
}

fn refusal(adapter: &Adapter, caller: &MercureCaller, error: &SubscribeError) -> Refusal {
    if let Some(problem) = problem(error) {
        return problem.into();
    }
    let detail = match error {
        SubscribeError::NotGranted(topic) => {
            format!("the topic `{topic}` may not be subscribed to")
        }
        _ => "nothing may be subscribed to".to_owned(),
    };
    caller.refused(adapter, &detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maximum_ages_are_spread_over_the_last_fifth() {
        let age = Duration::from_secs(1000);
        let drawn: Vec<_> = (0..1000).map(|_| spread(age)).collect();
        assert!(drawn.iter().all(|time| (age * 4 / 5..=age).contains(time)));
        for begins in (0..10).map(|tenth| age * 4 / 5 + age / 50 * tenth) {
            assert!(
                drawn.iter().any(|time| (begins..=begins + age / 50).contains(time)),
                "none from {begins:?}"
            );
        }
    }
}
