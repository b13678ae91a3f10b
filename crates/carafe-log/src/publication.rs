//! An event on its way into a log, and the IDs that a publisher can give it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use carafe_protocol::{Event, EventType, Topic, TopicMatcher};

use crate::kind::{Tag, nonce_text};
use crate::{Erase, Kind, Outcome, Removed};

/// An event to publish: its data, its topics, and how the log treats it.
///
/// ```
/// use carafe_log::Publication;
/// use carafe_protocol::{EventType, Topic};
///
/// let publication = Publication::new(Topic::new("orders/7")?, "espresso")
///     .with_type(EventType::new("ordered")?)
///     .with_private(true);
/// assert_eq!(publication.event_type(), Some("ordered"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Publication {
    topic: Topic,
    alternates: Box<[Topic]>,
    event: Event,
    private: bool,
    /// The external ID. It is an idempotency key only if `deduplicated` is set. A flag next to the
    /// narrower type keeps an entry 8 bytes smaller than an enum of both would.
    id: Option<IdempotencyKey>,
    deduplicated: bool,
    of_hub: bool,
    tag: Tag,
    reopens: bool,
    renews: Note,
}

/// Something that a log notes of its entry, which is no part of what was published.
#[derive(Clone, Copy, Debug)]
struct Note(bool);

impl PartialEq for Note {
    /// Equal: two logs that have the same entry may have noted different things.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Note {}

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
            deduplicated: false,
            of_hub: false,
            tag: Tag::Event,
            reopens: false,
            renews: Note(false),
        }
    }

    /// The end of a topic. From then on, the log refuses events of the topic, until one
    /// [reopens](Self::with_reopening) it.
    pub fn end(topic: Topic, outcome: Outcome) -> Self {
        Self::new(topic, "").with_kind(Kind::End(outcome))
    }

    /// A request to the producer of a topic that it stop.
    pub fn stop(topic: Topic) -> Self {
        Self::new(topic, "").with_kind(Kind::Stop)
    }

    /// The erasure of earlier events of a topic.
    pub fn erase(topic: Topic, erase: Erase) -> Self {
        Self::new(topic, "").with_kind(Kind::Erase(erase))
    }

    /// Sets the data.
    pub fn with_data(mut self, data: impl Into<String>) -> Self {
        let mut event = Event::new(data);
        event = self.event.event_type().cloned().into_iter().fold(event, Event::with_type);
        event = self.event.retry_time().into_iter().fold(event, Event::with_retry);
        self.event = event;
        self
    }

    /// Sets what the entry is. The data of the erasure of one event becomes its offset, and the
    /// type its nonce.
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.tag = Tag::of(kind);
        match kind {
            Kind::Erase(Erase::One(offset)) => self.with_data(offset.to_string()),
            Kind::Erase(Erase::Event { offset, nonce }) => {
                let event_type = EventType::new(nonce_text(nonce)).ok();
                let erasure = self.with_data(offset.to_string());
                event_type.into_iter().fold(erasure, Self::with_type)
            }
            _ => self,
        }
    }

    /// Sets whether the event reopens its topics: if they have ended, a new life of them begins
    /// with this event.
    pub fn with_reopening(mut self, reopens: bool) -> Self {
        self.reopens = reopens;
        self
    }

    /// Notes whether the event comes after an end of one of its topics that does not count any
    /// more.
    pub(crate) fn with_renewal(mut self, renews: bool) -> Self {
        self.renews = Note(renews);
        self
    }

    /// Publishes the event to further topics, too. A subscriber to several of them receives it
    /// once.
    pub fn with_alternates(mut self, topics: impl IntoIterator<Item = Topic>) -> Self {
        self.alternates = topics.into_iter().collect();
        self
    }

    /// Sets the type of the event.
    pub fn with_type(mut self, event_type: EventType) -> Self {
        self.event = self.event.with_type(event_type);
        self
    }

    /// Sets the time that clients wait before they reconnect.
    pub fn with_retry(mut self, time: Duration) -> Self {
        self.event = self.event.with_retry(time);
        self
    }

    /// Sets the idempotency key: publishing again with the same key and topic stores nothing. The
    /// key is the external ID of the event, too.
    pub fn with_key(mut self, key: IdempotencyKey) -> Self {
        self.id = Some(key);
        self.deduplicated = true;
        self
    }

    /// Sets the external ID of the event, in place of an idempotency key. Publishing again with the
    /// same ID stores another event.
    pub fn with_external_id(mut self, id: ExternalId) -> Self {
        self.id = Some(IdempotencyKey(id));
        self.deduplicated = false;
        self
    }

    /// Sets whether the event is private: only subscribers with access to private events of its
    /// topics receive it.
    pub fn with_private(mut self, private: bool) -> Self {
        self.private = private;
        self
    }

    /// Marks an event that the hub itself publishes, such as a subscription event. These events do
    /// not count toward the limits of the history, and a log may keep only few of them.
    pub fn with_hub(mut self, of_hub: bool) -> Self {
        self.of_hub = of_hub;
        self
    }

    /// What an erasure leaves of the publication; see [`Entry::erased`](crate::Entry::erased).
    pub(crate) fn erased(&self) -> Self {
        match self.kind() {
            Kind::Event => self.without_content(Kind::Removed(Removed::Erased)),
            kind @ (Kind::End(_) | Kind::Stop | Kind::Removed(_)) => self.without_content(kind),
            Kind::Erase(_) => self.clone(),
        }
    }

    /// What compaction leaves of the publication. Its ID stays, so that clients that know it
    /// continue after it, but is no idempotency key any more.
    #[cfg(feature = "disk")]
    pub(crate) fn compacted(&self) -> Self {
        let id = self.external_id().cloned().map(IdempotencyKey);
        Self { id, ..self.without_content(Kind::Removed(Removed::Compacted)) }
    }

    /// The topics, the privacy and what they mean for the life of the topics, and no content.
    pub(crate) fn without_content(&self, kind: Kind) -> Self {
        Self {
            alternates: self.alternates.clone(),
            private: self.private,
            of_hub: self.of_hub,
            reopens: self.reopens,
            renews: self.renews,
            ..Self::new(self.topic.clone(), "").with_kind(kind)
        }
    }

    /// Whether it is an event.
    #[must_use]
    pub fn is_event(&self) -> bool {
        self.kind() == Kind::Event
    }

    /// Whether it erases events.
    #[must_use]
    pub fn is_erasure(&self) -> bool {
        matches!(self.kind(), Kind::Erase(_))
    }

    /// Whether readers are shown the entry. They are not shown erasures, nor removed entries.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        !matches!(self.kind(), Kind::Erase(_) | Kind::Removed(_))
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

    /// Whether at least one of the matchers matches one of the topics.
    #[must_use]
    pub fn matches(&self, wanted: &[TopicMatcher]) -> bool {
        self.topics().any(|topic| wanted.iter().any(|matcher| matcher.matches(topic)))
    }

    /// The data, the type and the retry time. The event has no ID yet: its ID is the position,
    /// which the log assigns.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The data of the event.
    #[must_use]
    pub fn data(&self) -> &str {
        self.event.data().unwrap_or_default()
    }

    /// The type of the event, if it has one.
    #[must_use]
    pub fn event_type(&self) -> Option<&str> {
        self.event.event_type().map(EventType::as_str)
    }

    /// Whether only subscribers with access to private events of its topics receive the event.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// Whether the hub itself publishes the event.
    #[must_use]
    pub fn is_of_hub(&self) -> bool {
        self.of_hub
    }

    /// What the entry is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.tag.kind(self.data(), self.event_type())
    }

    /// Whether the event begins a new life of its topics.
    #[must_use]
    pub fn reopens(&self) -> bool {
        self.reopens
    }

    /// Whether the event comes after an end of one of its topics that does not count any more.
    pub(crate) fn renews(&self) -> bool {
        self.renews.0
    }

    /// Whether the entry counts as an event for readers: it is neither of another kind, nor
    /// [internal](Self::is_internal).
    #[must_use]
    pub fn counts(&self) -> bool {
        self.is_event() && !self.is_internal()
    }

    /// Whether the event is a note of the hub to itself: the hub has published it to a
    /// [reserved](Topic::is_reserved) topic. No subscriber receives it.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        // The flag first: it is at hand, and nearly always false.
        self.of_hub && self.topic.is_reserved()
    }

    /// The idempotency key.
    #[must_use]
    pub fn key(&self) -> Option<&IdempotencyKey> {
        self.id.as_ref().filter(|_| self.deduplicated)
    }

    /// The external ID: the ID that the publisher gave the event, which may be an idempotency key.
    #[must_use]
    pub fn external_id(&self) -> Option<&ExternalId> {
        self.id.as_ref().map(IdempotencyKey::external_id)
    }

    /// The approximate number of bytes of memory that the publication takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let topics: usize = self.topics().map(|topic| topic.as_str().len()).sum();
        let id = self.external_id().map_or(0, |id| id.as_str().len());
        size_of::<Self>()
            + size_of_val(&*self.alternates)
            + topics
            + id
            + self.event.data().map_or(0, str::len)
    }
}

/// An ID that a publisher gives an event, in addition to the position that the log gives it. Other
/// protocols use it as the ID of the event. Several events may have the same external ID.
///
/// ```
/// use carafe_log::{ExternalId, Publication};
/// use carafe_protocol::Topic;
///
/// let id = ExternalId::new("urn:uuid:5e94c686-2c0b-4f9b-958c-92ccc3bbb4eb")?;
/// let publication = Publication::new(Topic::new("orders")?, "espresso").with_external_id(id);
/// assert!(publication.external_id().is_some());
/// assert!(publication.key().is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExternalId(Arc<str>);

/// The text is not a valid external ID.
///
/// ```
/// use carafe_log::{BadExternalId, ExternalId};
///
/// assert_eq!(ExternalId::new(""), Err(BadExternalId));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an external ID has 1 to {max} bytes and no control characters: use a short text, such as a \
     URN",
    max = ExternalId::MAX_BYTES
)]
pub struct BadExternalId;

impl ExternalId {
    /// The maximum length of an external ID in bytes.
    pub const MAX_BYTES: usize = 256;

    /// Checks that `text` is an external ID.
    ///
    /// # Errors
    /// When the text is empty, too long or has a control character.
    pub fn new(text: &str) -> Result<Self, BadExternalId> {
        if text.is_empty() || text.len() > Self::MAX_BYTES || text.chars().any(char::is_control) {
            return Err(BadExternalId);
        }
        Ok(Self(text.into()))
    }

    /// The ID as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An external ID by which the log recognizes a repeated publication. It identifies an event within
/// its canonical topic for as long as the log remembers keys.
///
/// ```
/// use carafe_log::{Append, IdempotencyKey, MemoryLog, Publication};
/// use carafe_protocol::Topic;
///
/// # futures_executor::block_on(async {
/// let log = MemoryLog::default();
/// let key = IdempotencyKey::new("order-7")?;
/// let publication = Publication::new(Topic::new("orders")?, "espresso").with_key(key);
///
/// let first = log.append(vec![publication.clone()]).await?;
/// let repeated = log.append(vec![publication]).await?;
/// assert_eq!(first[0].position, repeated[0].position);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(ExternalId);

/// The text is not a valid idempotency key.
///
/// ```
/// use carafe_log::{BadIdempotencyKey, IdempotencyKey};
///
/// assert_eq!(IdempotencyKey::new(""), Err(BadIdempotencyKey));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an idempotency key has 1 to {max} bytes and no control characters: use a short unique text, \
     such as a UUID",
    max = IdempotencyKey::MAX_BYTES
)]
pub struct BadIdempotencyKey;

impl IdempotencyKey {
    /// The maximum length of a key in bytes.
    pub const MAX_BYTES: usize = ExternalId::MAX_BYTES;

    /// Checks that `text` is a key.
    ///
    /// # Errors
    /// When the text is empty, too long or has a control character.
    pub fn new(text: &str) -> Result<Self, BadIdempotencyKey> {
        ExternalId::new(text).map(Self).map_err(|BadExternalId| BadIdempotencyKey)
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The key as an external ID.
    #[must_use]
    pub fn external_id(&self) -> &ExternalId {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
