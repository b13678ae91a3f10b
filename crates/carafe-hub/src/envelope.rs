//! The envelope format: an event and its metadata as one JSON object.

use std::time::SystemTime;

use carafe_log::Entry;
use carafe_protocol::{Event, EventType, Topic};
use serde::Serialize;

use crate::json_line::json_line;

#[derive(Serialize)]
struct Envelope<'a> {
    topic: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alternates: Vec<&'a str>,
    id: String,
    time: String,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    event_type: Option<&'a str>,
    data: &'a str,
}

/// The entry in an envelope with those of its topics that `names` selects: the topics that the
/// subscriber may know.
pub(crate) fn envelope(entry: &Entry, names: impl Fn(&Topic) -> bool) -> Event {
    let event = Event::new(envelope_json(entry, names));
    match entry.publication.event().retry_time() {
        Some(time) => event.with_retry(time),
        None => event,
    }
}

/// The JSON object in the data of [`envelope`], which is also an event of a page.
pub(crate) fn envelope_json(entry: &Entry, names: impl Fn(&Topic) -> bool) -> String {
    let publication = &entry.publication;
    let mut topics = publication.topics().filter(|topic| names(topic)).map(Topic::as_str);
    let envelope = Envelope {
        // A subscriber that may see an event may see at least one of its topics.
        topic: topics.next().unwrap_or_default(),
        alternates: topics.collect(),
        id: entry.position.to_string(),
        time: rfc3339(entry.time),
        event_type: publication.event().event_type().map(EventType::as_str),
        data: publication.event().data().unwrap_or_default(),
    };
    json_line(&envelope)
}

/// The time in UTC to the millisecond, such as `2026-11-23T08:15:00.123Z`.
fn rfc3339(time: SystemTime) -> String {
    // A time beyond the year 9999 comes from a clock that is wrong. The event is delivered all the
    // same.
    let time = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::MAX);
    format!("{time:.3}")
}
