//! `carafe subscribe`: prints the events of a hub, and reconnects when the stream is lost.

use std::convert::Infallible;
use std::fmt::Write;
use std::future::ready;
use std::time::{Duration, Instant};

use carafe_client::{Error, EventSource, Lost, ReceivedEvent};
use carafe_protocol::TopicMatcher;
use serde::Deserialize;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use crate::cli::SubscribeOptions;
use crate::failure::{Failure, START_A_HUB};
use crate::output::Output;
use crate::printer::Printer;
use crate::settings;
use crate::state_file::StateFile;
use crate::token;

/// How often the position is saved while events arrive without a pause.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// Prints events up to `--count`, or until the reader of standard output closes it.
pub(crate) async fn subscribe(options: SubscribeOptions) -> Result<(), Failure> {
    let state = options.state.as_deref().map(StateFile::load).transpose()?;
    let mut printer = Printer::new(&options);
    let resumed = state.as_ref().map_or("", StateFile::id);
    if !resumed.is_empty() {
        printer = printer.resumed();
    }
    let after = options.after.as_deref().filter(|_| resumed.is_empty()).unwrap_or(resumed);
    let after = after.to_owned();
    let source = EventSource::options(options.stream(&printer)?)
        .last_event_id(after.as_str())
        .event_bytes(settings::bytes(options.event_bytes))
        .first_must_succeed()
        .with_control_events()
        .on_lost(|lost| eprintln!("carafe: {lost}; reconnecting"));
    let source = match token(&options)? {
        Some(mut token) => source.bearer_from(move || ready(Ok::<_, Infallible>(token()))),
        None => source,
    };
    let subscriber = Subscriber {
        events: source.connect(),
        printer,
        output: Output::new(),
        printed: after,
        left: options.count.unwrap_or(u64::MAX),
    };
    let url = &options.url;
    match state {
        None => subscriber.run().await,
        Some(state) => subscriber.run_with(state).await,
    }
    .map_err(|error| match error {
        Ended::Source(error) => failure(error, url),
        Ended::Other(failure) => failure,
    })
}

/// Reads events and prints them.
struct Subscriber {
    events: EventSource,
    printer: Printer,
    output: Output,
    /// The ID of the last event that was printed or needs no printing.
    printed: String,
    left: u64,
}

/// Why a subscriber cannot go on.
enum Ended {
    Source(Error),
    Other(Failure),
}

impl<E: Into<Failure>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

impl Subscriber {
    async fn run(mut self) -> Result<(), Ended> {
        while self.left > 0
            && let Some(event) = self.events.next().await
        {
            self.print(event)?;
        }
        Ok(())
    }

    /// Saves the position when no event waits to be printed, at least once per interval, and at the
    /// end, also after SIGTERM and SIGINT.
    async fn run_with(mut self, mut state: StateFile) -> Result<(), Ended> {
        let outcome = self.print_and_save(&mut state).await;
        state.save(&self.printed)?;
        outcome
    }

    async fn print_and_save(&mut self, state: &mut StateFile) -> Result<(), Ended> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut saved = Instant::now();
        while self.left > 0 {
            let idle = tokio::select! {
                biased;
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                event = self.events.next() => match event {
                    Some(event) => {
                        self.print(event)?;
                        false
                    }
                    None => return Ok(()),
                },
                () = ready(()), if self.printed != state.id() => true,
            };
            if idle || saved.elapsed() >= SAVE_INTERVAL {
                state.save(&self.printed)?;
                saved = Instant::now();
            }
        }
        Ok(())
    }

    fn print(&mut self, event: Result<ReceivedEvent, Error>) -> Result<(), Ended> {
        let event = event.map_err(Ended::Source)?;
        if event.event_type == "carafe.gap" {
            eprintln!("carafe: {}", gap(&event));
        } else if !event.event_type.starts_with("carafe.")
            && let Some(line) = self.printer.line(&event)?
        {
            self.output.line(&line)?;
            self.left -= 1;
        }
        self.printed.clone_from(&event.last_event_id);
        Ok(())
    }
}

/// The token to send with each connection. The file is read again each time, because the token in
/// it may have been replaced.
fn token(
    options: &SubscribeOptions,
) -> Result<Option<impl FnMut() -> String + Send + 'static>, Failure> {
    let file = options.token_file.clone();
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

impl SubscribeOptions {
    /// The URL of the stream.
    fn stream(&self, printer: &Printer) -> Result<String, Failure> {
        let mut url = Url::parse(&self.url).map_err(|error| bad_url(&self.url, &error))?;
        url.path_segments_mut()
            .map_err(|()| bad_url(&self.url, &"it has no path"))?
            .pop_if_empty()
            .push("events");
        let last = self.last.map(|count| count.to_string());
        let earliest = self.earliest || printer.needs_history();
        url.query_pairs_mut()
            .extend_pairs(self.topics.iter().map(matcher))
            .extend_pairs(self.topic.iter().map(|topic| ("topic", topic)))
            .extend_pairs(self.pattern.iter().map(|pattern| ("pattern", pattern)))
            .extend_pairs(earliest.then_some(("earliest", "true")))
            .extend_pairs(last.map(|count| ("last", count)))
            .extend_pairs(printer.needs_envelopes().then_some(("envelope", "json")));
        Ok(url.into())
    }
}

/// The query parameter for a topic or a pattern.
fn matcher(matcher: &TopicMatcher) -> (&str, &str) {
    match matcher {
        TopicMatcher::Exact(topic) => ("topic", topic.as_str()),
        TopicMatcher::Pattern(pattern) => ("pattern", pattern.as_str()),
    }
}

fn bad_url(url: &str, reason: &dyn std::fmt::Display) -> Failure {
    Failure::usage(format!(
        "{url} is not the URL of a hub: {reason}; expected one such as http://127.0.0.1:3000"
    ))
}

fn failure(error: Error, url: &str) -> Failure {
    match error {
        Error::BadUrl { .. } | Error::UnsendableToken => Failure::usage(error),
        Error::Unreachable(Lost::Unreachable(reason)) => {
            Failure::failed(format!("cannot connect to {url}: {reason}; {START_A_HUB}"))
        }
        Error::NotAnEventStream => {
            Failure::failed(format!("{url} is not the URL of a hub: {error}"))
        }
        Error::TooLarge(too_large) => Failure::failed(format!(
            "an event has more than {} bytes: raise --event-bytes",
            too_large.limit
        )),
        error => Failure::failed(error),
    }
}

#[derive(Deserialize)]
struct Gap {
    requested: String,
    oldest: Option<String>,
}

/// The message for a `carafe.gap` event.
fn gap(event: &ReceivedEvent) -> String {
    let Ok(gap) = serde_json::from_str::<Gap>(&event.data) else {
        return "gap: some events are no longer stored".into();
    };
    let mut words = format!("gap: some events after {} are no longer stored", gap.requested);
    match gap.oldest {
        Some(oldest) => write!(words, "; the oldest stored event is {oldest}"),
        None => write!(words, "; no events are stored"),
    }
    .expect("writing to a String does not fail");
    words
}
