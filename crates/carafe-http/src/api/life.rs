//! The life of a topic: requests that end it, reopen it, or ask its producer to stop.

use axum::body::Body;
use axum::response::Response;
use carafe_hub::Hub;
use carafe_log::{Outcome, Publication};
use carafe_protocol::Topic;
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use http_body::Body as _;

use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::allowance;
use crate::api::app::App;
use crate::api::caller::Caller;
use crate::api::publication::{Parameters, not_stored};
use crate::api::published::published;
use crate::api::query::Query;
use crate::policy::client::publisher;

/// The position of the request to stop, in answers to the producer of a topic.
const STOP: HeaderName = HeaderName::from_static("carafe-stop");

/// The maximum length of a reason in bytes. The log keeps it in memory beside its index.
const REASON: usize = 1024;

/// What a request does with the life of its topics, beside publishing an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It publishes an event, which may reopen the topics.
    Event { reopens: bool },
    /// It ends the topic, after an event if there is a body.
    End { outcome: Outcome, reason: String, reopens: bool },
    /// It asks the producer of the topic to stop.
    Stop { reason: String },
}

impl Life {
    pub(crate) fn parse(query: &Query) -> Result<Self, Problem> {
        let end = query.one("end")?.map(outcome).transpose()?;
        let (stops, reopens) = (query.flag("stop")?, query.flag("reopen")?);
        let reason = query.one("reason")?;
        match (end, stops) {
            (Some(_), true) => Err(bad("`end` and `stop` exclude each other: use one of them")),
            (Some(outcome), false) => {
                Ok(Self::End { outcome, reason: checked_reason(reason)?, reopens })
            }
            (None, true) if reopens => {
                Err(bad("`stop` and `reopen` exclude each other: use one of them"))
            }
            (None, true) => Ok(Self::Stop { reason: checked_reason(reason)? }),
            (None, false) if reason.is_some() => {
                Err(bad("`reason` is for `end` or `stop`: add one of them, or remove it"))
            }
            (None, false) => Ok(Self::Event { reopens }),
        }
    }

    /// Rejects what the caller may not do with these topics. Publishing to them is checked apart.
    pub(crate) fn check(
        &self,
        caller: &Caller<'_>,
        (first, alternates): (&Topic, &[Topic]),
    ) -> Result<(), Problem> {
        match self {
            Self::Event { reopens } | Self::End { reopens, .. } if *reopens => {
                let topics = std::iter::once(first).chain(alternates);
                caller.may(|rights| &rights.reopen, topics, "may be reopened")?;
            }
            _ => {}
        }
        match self {
            Self::End { .. } if !alternates.is_empty() => Err(several_topics("end")),
            _ => Ok(()),
        }
    }

    /// Whether the first event of a request reopens its topics.
    pub(crate) fn reopens(&self) -> bool {
        matches!(self, Self::Event { reopens: true } | Self::End { reopens: true, .. })
    }

    /// The end of the topic after the events of a request, if it has one.
    pub(crate) fn end_of(&self, topic: &Topic, private: bool) -> Option<Publication> {
        let Self::End { outcome, reason, .. } = self else { return None };
        let end = Publication::end(topic.clone(), *outcome).with_data(&**reason);
        Some(end.with_private(private))
    }

    /// What the request publishes, in order: one or two publications.
    pub(crate) fn publications(
        self,
        event: Publication,
        parameters: Parameters,
        app: &App,
    ) -> Result<Vec<Publication>, Problem> {
        let Self::End { outcome, reason, reopens } = self else {
            let event = parameters.apply(event, &app.options);
            return Ok(vec![event.with_reopening(self == Self::Event { reopens: true })]);
        };
        let end = Publication::end(event.topic().clone(), outcome).with_data(reason);
        let end = end.with_private(parameters.private);
        if !event.data().is_empty() {
            let event = parameters.apply(event, &app.options).with_reopening(reopens);
            return Ok(vec![event, end]);
        }
        if reopens {
            return Err(bad("`reopen` needs an event as body: send one, or remove `reopen`"));
        }
        if parameters.event_type.is_some() || parameters.retry.is_some() {
            return Err(bad("`event` and `retry` need an event as body: send one, or remove them"));
        }
        Ok(vec![parameters.key.into_iter().fold(end, Publication::with_key)])
    }
}

/// Asks the producer of a topic to stop.
pub(crate) async fn stop(
    app: &App,
    caller: &Caller<'_>,
    (topic, reason): (Topic, String),
    query: &Query,
    parts: &Parts,
    body: Body,
) -> Result<Response, Problem> {
    caller.may(|rights| &rights.stop, [&topic], "may be stopped")?;
    let is_of_event = |name: &&&str| query.one(name).is_ok_and(|value| value.is_some());
    if let Some(name) = ["event", "id", "retry", "split", "stream"].iter().find(is_of_event) {
        return Err(bad(format!("`{name}` is for events: remove it from a request to stop")));
    }
    if !body.is_end_stream() {
        return Err(bad("a request to stop has no body: write the reason into `reason`"));
    }
    let private = query.flag("private")?;
    allowance::take(app, publisher(&app.options.proxies, caller.identity, parts), 1)?;
    let stop = Publication::stop(topic).with_data(reason).with_private(private);
    let appended = app.hub.publish(stop).await.map_err(not_stored)?;
    Ok(published(appended))
}

/// Rejects a request to stop or to end that names several topics.
pub(crate) fn several_topics(name: &str) -> Problem {
    bad(format!("`{name}` is for one topic: send a request for each"))
}

/// Tells the producer of a topic that it was asked to stop.
pub(crate) fn tell_stop<'t>(
    hub: &Hub,
    topics: impl IntoIterator<Item = &'t Topic>,
    mut response: Response,
) -> Response {
    if let Some(position) = topics.into_iter().find_map(|topic| hub.topic_state(topic).stop) {
        let value = HeaderValue::try_from(position.to_string());
        response.headers_mut().insert(STOP, value.expect("a position is a valid header"));
    }
    response
}

fn outcome(text: &str) -> Result<Outcome, Problem> {
    text.parse().map_err(|_| bad("unknown end: use end=done, end=failed or end=cancelled"))
}

fn checked_reason(reason: Option<&str>) -> Result<String, Problem> {
    match reason.unwrap_or_default() {
        long if long.len() > REASON => {
            Err(bad(format!("`reason` has more than {REASON} bytes: shorten it")))
        }
        reason => Ok(reason.to_owned()),
    }
}

fn bad(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::of(ProblemKind::BadParameter, detail)
}
