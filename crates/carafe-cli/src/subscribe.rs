//! `carafe subscribe`: prints the events of a hub, and reconnects when the stream is lost.

use std::fmt::Write;

use carafe_client::{Error, EventSource, ReceivedEvent};
use serde::Deserialize;
use url::Url;

use crate::cli::SubscribeOptions;
use crate::failure::Failure;
use crate::output::Output;
use crate::token;

/// Prints events up to `--count`, or until the reader of standard output closes it.
pub(crate) async fn subscribe(options: SubscribeOptions) -> Result<(), Failure> {
    let source = EventSource::options(options.stream()?)
        .last_event_id(options.after.as_deref().unwrap_or_default())
        .first_must_succeed()
        .bearer_with(token(&options)?)
        .on_lost(|lost| eprintln!("carafe: {lost}; reconnecting"));
    let mut events = source.connect();
    let mut output = Output::new();
    let mut left = options.count.unwrap_or(u64::MAX);
    while left > 0
        && let Some(event) = events.next().await
    {
        let event = event?;
        if event.event_type == "carafe.gap" {
            eprintln!("carafe: {}", gap(&event));
        } else if !event.event_type.starts_with("carafe.") {
            output.line(&event.data)?;
            left -= 1;
        }
    }
    Ok(())
}

/// The token to send with each connection. The file is read again each time, because the token in
/// it may have been replaced.
fn token(
    options: &SubscribeOptions,
) -> Result<impl FnMut() -> Option<String> + Send + 'static, Failure> {
    let mut token = token::to_send(options.token_file.as_deref())?;
    let file = options.token_file.clone();
    Ok(move || {
        if let Some(file) = &file
            && let Ok(Some(read)) = token::to_send(Some(file))
        {
            token = Some(read);
        }
        token.clone()
    })
}

impl SubscribeOptions {
    /// The URL of the stream. `--json` prints the envelope of the hub unchanged.
    fn stream(&self) -> Result<String, Failure> {
        let mut url = Url::parse(&self.url).map_err(|error| bad_url(&self.url, &error))?;
        url.path_segments_mut()
            .map_err(|()| bad_url(&self.url, &"it has no path"))?
            .pop_if_empty()
            .push("events");
        let last = self.last.map(|count| count.to_string());
        url.query_pairs_mut()
            .extend_pairs(self.topics.iter().map(|topic| ("topic", topic)))
            .extend_pairs(self.pattern.iter().map(|pattern| ("pattern", pattern)))
            .extend_pairs(self.earliest.then_some(("earliest", "true")))
            .extend_pairs(last.map(|count| ("last", count)))
            .extend_pairs(self.json.then_some(("envelope", "json")));
        Ok(url.into())
    }
}

fn bad_url(url: &str, reason: &dyn std::fmt::Display) -> Failure {
    Failure::usage(format!(
        "{url} is not the URL of a hub: {reason}; expected one such as http://127.0.0.1:3000"
    ))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::BadUrl { .. } | Error::UnsendableToken => Self::usage(error),
            _ => Self::failed(error),
        }
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
