//! What a request to ingest says: how its events are written, and what holds for all of them.

use carafe_log::{Outcome, Publication};
use carafe_protocol::{EventType, Topic};
use http::request::Parts;

use crate::answer::problem::Problem;
use crate::answer::problem_kind::ProblemKind;
use crate::api::body::is_of_type;
use crate::api::caller::Caller;
use crate::api::ingest::on_abort;
use crate::api::life::Life;
use crate::api::publication::event_type;
use crate::api::query::Query;

/// How the events of a body are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `text/event-stream`: each block is an event.
    EventStream,
    /// `application/x-ndjson`: each line is an event as JSON.
    Ndjson,
    /// Text of any other type with `?split=lines`: each line is the data of an event.
    Lines,
}

impl Form {
    /// The form of a request whose events are stored as they arrive; `None` if it publishes one
    /// event, or a batch.
    pub(crate) fn of(
        query: &Query,
        parts: &Parts,
        has_topic: bool,
    ) -> Result<Option<Self>, Problem> {
        let splits = splits(query)?;
        let streams = query.flag("stream")?;
        let wants = streams || query.one(on_abort::PARAMETER)?.is_some();
        let form = if is_of_type(&parts.headers, EVENT_STREAM) {
            Self::EventStream
        } else if is_of_type(&parts.headers, NDJSON) {
            match has_topic || streams {
                true => Self::Ndjson,
                false => return Ok(None),
            }
        } else if splits {
            Self::Lines
        } else if wants {
            return Err(bad(NO_FORM));
        } else {
            return Ok(None);
        };
        if splits && form != Self::Lines {
            return Err(bad("`split` is for plain text: the content type says how this body is \
                            split, so remove it"));
        }
        if !has_topic && form != Self::Ndjson {
            let detail = "no topic is named: post to /events/{topic}";
            return Err(Problem::of(ProblemKind::NoTopic, detail));
        }
        Ok(Some(form))
    }
}

const EVENT_STREAM: &str = "text/event-stream";
pub(crate) const NDJSON: &str = "application/x-ndjson";

const NO_FORM: &str = "`stream` and `on_abort` need a body of several events: send \
                       application/x-ndjson or text/event-stream, or add split=lines";

fn splits(query: &Query) -> Result<bool, Problem> {
    match query.one("split")? {
        None => Ok(false),
        Some("lines") => Ok(true),
        Some(_) => Err(bad("unknown split: use split=lines, or leave it out")),
    }
}

/// What holds for all events of a request.
#[derive(Debug)]
pub(crate) struct Template {
    /// The topics of all events, the canonical one first; `None` if each line names its own.
    pub(crate) topics: Option<(Topic, Vec<Topic>)>,
    private: bool,
    event_type: Option<EventType>,
    /// How the topic ends if the request breaks off.
    on_abort: Option<Outcome>,
    /// What the request does with the life of its topics.
    life: Life,
}

impl Template {
    pub(crate) fn parse(
        query: &Query,
        topics: Option<(Topic, Vec<Topic>)>,
        life: Life,
    ) -> Result<Self, Problem> {
        if topics.is_none() && life != (Life::Event { reopens: false }) {
            return Err(bad("`end` and `reopen` are of one topic: post to /events/{topic}"));
        }
        if query.one("id")?.is_some() || query.one("retry")?.is_some() {
            return Err(bad("`id` and `retry` are of one event: write them in the body"));
        }
        let on_abort = on_abort::outcome(query)?;
        if on_abort.is_some() && topics.is_none() {
            return Err(bad("`on_abort` ends the topic of a request: post to /events/{topic}"));
        }
        let event_type = query.one("event")?.map(event_type).transpose()?;
        Ok(Self { topics, private: query.flag("private")?, event_type, on_abort, life })
    }

    /// Whether all events are private.
    pub(crate) fn is_private(&self) -> bool {
        self.private
    }

    /// The topics of all events; none if each line names its own.
    pub(crate) fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter().flat_map(|(first, others)| std::iter::once(first).chain(others))
    }

    /// The end of the topic if the request breaks off.
    pub(crate) fn end_on_abort(&self) -> Option<Publication> {
        let (topic, _) = self.topics.as_ref()?;
        Some(Publication::end(topic.clone(), self.on_abort?).with_private(self.private))
    }

    /// Rejects what the caller may not do with the topics of the request.
    pub(crate) fn check(&self, caller: &Caller<'_>) -> Result<(), Problem> {
        caller.may_publish_to(self.topics())?;
        match &self.topics {
            Some((first, others)) => self.life.check(caller, (first, others)),
            None => Ok(()),
        }
    }

    /// Whether the first event reopens the topics.
    pub(crate) fn reopens(&self) -> bool {
        self.life.reopens()
    }

    /// The end of the topic after a body that has ended in order.
    pub(crate) fn end(&self) -> Option<Publication> {
        let (topic, _) = self.topics.as_ref()?;
        self.life.end_of(topic, self.private)
    }

    /// An event with this data for the topics of the request.
    pub(crate) fn publication(&self, data: String) -> Option<Publication> {
        let (first, others) = self.topics.as_ref()?;
        Some(Publication::new(first.clone(), data).with_alternates(others.iter().cloned()))
    }

    /// Adds what holds for all events. What an event says itself stays.
    pub(crate) fn apply(&self, publication: Publication) -> Publication {
        let private = self.private || publication.is_private();
        let publication = publication.with_private(private);
        match &self.event_type {
            Some(event_type) if publication.event_type().is_none() => {
                publication.with_type(event_type.clone())
            }
            _ => publication,
        }
    }
}

fn bad(detail: &'static str) -> Problem {
    Problem::of(ProblemKind::BadParameter, detail)
}
