//! What a publisher sends.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use carafe_protocol::{Event, EventType, Topic, TopicMatcher};

/// An event on its way into a log: its data, the topics it is for, and how it is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Publication {
    topic: Topic,
    alternates: Box<[Topic]>,
    event: Event,
    private: bool,
    id: Option<IdempotencyKey>,
    /// Whether the ID is an idempotency key.
    once: bool,
    of_hub: bool,
}

impl Publication {
    /// A public event for one topic.
    pub fn new(topic: Topic, data: impl Into<String>) -> Self {
        let event = Event::new(data);
        Self {
            topic,
            alternates: Box::default(),
            event,
            private: false,
            id: None,
            once: false,
            of_hub: false,
        }
    }

    /// Publishes the event to further topics too. It is delivered once to who asked for several of
    /// them.
    pub fn with_alternates(mut self, topics: impl IntoIterator<Item = Topic>) -> Self {
        self.alternates = topics.into_iter().collect();
        self
    }

    /// Sets the event's type.
    pub fn with_type(mut self, event_type: EventType) -> Self {
        self.event = self.event.with_type(event_type);
        self
    }

    /// Sets the time that clients wait before they reconnect.
    pub fn with_retry(mut self, time: Duration) -> Self {
        self.event = self.event.with_retry(time);
        self
    }

    /// Sets the idempotency key: publishing again with the same key and topic stores nothing.
    pub fn with_key(mut self, key: IdempotencyKey) -> Self {
        self.id = Some(key);
        self.once = true;
        self
    }

    /// Sets the publisher's own ID, by which the event can be found, and which is no idempotency
    /// key: publishing again with it stores another event. It has the form of a key.
    pub fn with_id(mut self, id: IdempotencyKey) -> Self {
        self.id = Some(id);
        self.once = false;
        self
    }

    /// Shows the event only to subscribers who may see private events of its topics.
    pub fn with_private(mut self, private: bool) -> Self {
        self.private = private;
        self
    }

    /// Says that the hub publishes this itself, to tell of what it does. Such events do not count
    /// against the history of those that others publish: a log may keep only few of them.
    pub fn with_hub(mut self, of_hub: bool) -> Self {
        self.of_hub = of_hub;
        self
    }

    /// The canonical topic.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// All topics, the canonical one first.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        std::iter::once(&self.topic).chain(&self.alternates)
    }

    /// Whether one of its topics is among these.
    #[must_use]
    pub fn matches(&self, wanted: &[TopicMatcher]) -> bool {
        self.topics().any(|topic| wanted.iter().any(|matcher| matcher.matches(topic)))
    }

    /// Data, type and retry, without an ID: that is the position, which only the log knows.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// Whether the event is shown only to subscribers who may see private events of its topics.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// Whether the hub publishes this itself.
    #[must_use]
    pub fn is_of_hub(&self) -> bool {
        self.of_hub
    }

    /// The idempotency key.
    #[must_use]
    pub fn key(&self) -> Option<&IdempotencyKey> {
        self.id.as_ref().filter(|_| self.once)
    }

    /// The publisher's own ID, whether it is an idempotency key or not.
    #[must_use]
    pub fn id(&self) -> Option<&IdempotencyKey> {
        self.id.as_ref()
    }

    /// About how many bytes of memory the publication takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let topics: usize = self.topics().map(|topic| topic.as_str().len()).sum();
        let id = self.id.as_ref().map_or(0, |id| id.as_str().len());
        size_of::<Self>()
            + size_of_val(&*self.alternates)
            + topics
            + id
            + self.event.data().map_or(0, str::len)
    }
}

/// A publisher's own name for an event, valid within its canonical topic while the event is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

/// Why a text cannot be an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an idempotency key has 1 to {max} bytes and no control characters: use a short unique text, such as a UUID",
    max = IdempotencyKey::MAX_BYTES
)]
pub struct BadIdempotencyKey;

impl IdempotencyKey {
    /// The most bytes a key may have.
    pub const MAX_BYTES: usize = 256;

    /// Takes `text` as a key.
    ///
    /// # Errors
    /// When it is empty, too long or has a control character.
    pub fn new(text: &str) -> Result<Self, BadIdempotencyKey> {
        if text.is_empty() || text.len() > Self::MAX_BYTES || text.chars().any(char::is_control) {
            return Err(BadIdempotencyKey);
        }
        Ok(Self(text.into()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
