//! An event to publish, and its form on the wire.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use crate::random;

/// An event to publish.
///
/// ```
/// use carafe_client::Publish;
///
/// let event = Publish::to("orders/7", "one flat white")
///     .with_type("ordered")
///     .with_key("order-7");
/// # drop(event);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Publish {
    topic: String,
    data: String,
    event_type: Option<String>,
    key: Option<String>,
    private: bool,
}

impl Publish {
    /// An event with this data for one topic, public and without a type or a key.
    pub fn to(topic: impl Into<String>, data: impl Into<String>) -> Self {
        let (topic, data) = (topic.into(), data.into());
        Self { topic, data, event_type: None, key: None, private: false }
    }

    /// Sets the event's type.
    pub fn with_type(mut self, event_type: impl Into<String>) -> Self {
        self.event_type = Some(event_type.into());
        self
    }

    /// Sets the idempotency key. Publishing again with the same key and topic stores nothing.
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets whether the event is private: only subscribers with access to private events of its
    /// topics receive it.
    pub fn with_private(mut self, private: bool) -> Self {
        self.private = private;
        self
    }

    /// With a random key instead of none.
    fn repeatable(&self) -> Line<'_> {
        let key = self.key.as_deref().map_or_else(|| Cow::from(random::unique()), Cow::from);
        Line { id: Some(key), ..self.line() }
    }

    fn line(&self) -> Line<'_> {
        Line {
            topic: &self.topic,
            data: &self.data,
            event: self.event_type.as_deref(),
            id: self.key.as_deref().map(Cow::from),
            private: self.private,
        }
    }
}

/// A line of a batch.
#[derive(Serialize)]
struct Line<'a> {
    topic: &'a str,
    data: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    private: bool,
}

/// A batch in which each event has a key, so that it can be sent again when its outcome is unknown.
pub(crate) fn repeatable_batch(events: &[Publish]) -> Bytes {
    ndjson(events.iter().map(Publish::repeatable))
}

/// A batch as it is.
pub(crate) fn batch(events: &[Publish]) -> Bytes {
    ndjson(events.iter().map(Publish::line))
}

fn ndjson<'a>(events: impl Iterator<Item = Line<'a>>) -> Bytes {
    let mut lines = Vec::new();
    for event in events {
        serde_json::to_writer(&mut lines, &event).expect("an object of texts is always JSON");
        lines.push(b'\n');
    }
    lines.into()
}
