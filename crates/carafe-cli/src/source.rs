//! The streams that `carafe subscribe` opens.

use std::convert::Infallible;
use std::fmt::Display;
use std::future::ready;

use carafe_client::{Error, EventSource, Lost, ReceivedEvent, State};
use carafe_protocol::TopicMatcher;
use jiff::Timestamp;
use url::Url;

use crate::cli::SubscribeOptions;
use crate::failure::{Failure, START_A_HUB};
use crate::outage::Outage;
use crate::printer::time_of;
use crate::settings;
use crate::token;

/// Opens streams as the options say.
pub(crate) struct Source<'a> {
    pub(crate) options: &'a SubscribeOptions,
    /// The ID after which to resume; empty if there is none.
    pub(crate) after: String,
    /// Whether the hub has to send envelopes.
    pub(crate) envelopes: bool,
    pub(crate) outage: Outage,
}

/// How many of the last events are tried first, and by how much that grows.
const FIRST: u64 = 100;
const FACTOR: u64 = 10;

impl Source<'_> {
    /// A stream that begins where the options say.
    pub(crate) fn open(&self) -> Result<EventSource, Failure> {
        let SubscribeOptions { last, earliest, latest, .. } = self.options;
        let start = match last {
            Some(last) => Some(("last", last.to_string())),
            None if *latest => Some(("latest", "true".into())),
            None => earliest.then(|| ("earliest", "true".into())),
        };
        self.open_at(start)
    }

    /// A stream that begins at this time or before it, and its first event. A hub finds its last
    /// events, but none by their time. So this asks for more of them until one is too old, or until
    /// there are no more.
    pub(crate) async fn open_since(
        &self,
        since: Timestamp,
    ) -> Result<(EventSource, Option<ReceivedEvent>), Failure> {
        let (mut last, mut oldest) = (FIRST, String::new());
        loop {
            let mut events = self.open_at(Some(("last", last.to_string())))?;
            let first = match events.next().await.transpose() {
                // To find so many may take too many tests of patterns.
                Err(Error::Refused { status: 400, .. }) if last > FIRST => {
                    return Ok((self.open_at(Some(("earliest", "true".into())))?, None));
                }
                first => first.map_err(|error| self.failure(error))?,
            };
            let Some(first) = first else { return Ok((events, None)) };
            if time_of(&first)? < since || first.last_event_id == oldest {
                return Ok((events, Some(first)));
            }
            (last, oldest) = (last.saturating_mul(FACTOR), first.last_event_id);
        }
    }

    fn open_at(&self, start: Option<(&str, String)>) -> Result<EventSource, Failure> {
        let outage = self.outage.clone();
        let source = EventSource::options(self.url(start)?)
            .last_event_id(self.after.as_str())
            .event_bytes(settings::bytes(self.options.event_bytes))
            .first_must_succeed()
            .on_state(move |state| {
                if let State::Waiting { reason, .. } = state {
                    outage.report(reason, "reconnecting");
                }
            });
        Ok(match token(self.options)? {
            Some(mut token) => source.bearer_from(move |_| ready(Ok::<_, Infallible>(token()))),
            None => source,
        }
        .connect())
    }

    fn url(&self, start: Option<(&str, String)>) -> Result<String, Failure> {
        let Self { options, envelopes, .. } = self;
        let mut url =
            Url::parse(&options.hub.url).map_err(|error| bad_url(&options.hub.url, &error))?;
        url.path_segments_mut()
            .map_err(|()| bad_url(&options.hub.url, &"it has no path"))?
            .pop_if_empty()
            .push("events");
        url.query_pairs_mut()
            .extend_pairs(options.topics.iter().map(matcher))
            .extend_pairs(options.topic.iter().map(|topic| ("topic", topic)))
            .extend_pairs(options.pattern.iter().map(|pattern| ("pattern", pattern)))
            .extend_pairs(start)
            .extend_pairs(envelopes.then_some(("envelope", "json")));
        Ok(url.into())
    }

    pub(crate) fn failure(&self, error: Error) -> Failure {
        let url = &self.options.hub.url;
        match error {
            Error::BadUrl { .. } | Error::UnsendableToken => Failure::usage(error),
            Error::Unreachable(Lost::Unreachable(reason)) => {
                Failure::failed(format!("cannot connect to {url}: {reason}; {START_A_HUB}"))
            }
            Error::NotAnEventStream | Error::Unreachable(Lost::Html) => {
                Failure::failed(format!("{url} is not the URL of a hub: {error}"))
            }
            Error::TooLarge(too_large) => Failure::failed(format!(
                "an event has more than {} bytes: raise --event-bytes",
                too_large.limit
            )),
            error => Failure::failed(error),
        }
    }
}

/// The query parameter for a topic or a pattern.
fn matcher(matcher: &TopicMatcher) -> (&str, &str) {
    match matcher {
        TopicMatcher::Exact(topic) => ("topic", topic.as_str()),
        TopicMatcher::Pattern(pattern) => ("pattern", pattern.as_str()),
    }
}

fn bad_url(url: &str, reason: &dyn Display) -> Failure {
    Failure::usage(format!(
        "{url} is not the URL of a hub: {reason}; expected one such as http://127.0.0.1:3000"
    ))
}

/// The token to send with each connection. The file is read again each time, because the token in
/// it may have been replaced.
fn token(
    options: &SubscribeOptions,
) -> Result<Option<impl FnMut() -> String + Send + 'static>, Failure> {
    let file = options.hub.token_file.clone();
    let token = token::to_send(file.as_deref())?;
    Ok(token.map(|mut token| {
        move || {
            if let Some(file) = &file
                && let Ok(Some(read)) = token::to_send(Some(file))
            {
                token = read;
            }
            token.clone()
        }
    }))
}
