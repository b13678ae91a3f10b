//! An event of a feed.

/// An event of a feed. A text is one, too.
///
/// ```no_run
/// use carafe_client::{FeedEvent, Publisher};
///
/// # async fn example() -> Result<(), carafe_client::FeedError> {
/// let mut progress = Publisher::new("http://127.0.0.1:3000").feed("jobs/7");
/// progress.send("10 %").await?;
/// progress.send(FeedEvent::new("20 %").with_type("progress")).await?;
/// progress.finish().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct FeedEvent {
    pub(crate) data: String,
    pub(crate) event_type: Option<String>,
    pub(crate) key: Option<String>,
}

impl FeedEvent {
    /// An event with this data.
    pub fn new(data: impl Into<String>) -> Self {
        Self { data: data.into(), event_type: None, key: None }
    }

    /// Sets the event's type.
    pub fn with_type(mut self, event_type: impl Into<String>) -> Self {
        self.event_type = Some(event_type.into());
        self
    }

    /// Sets the idempotency key, which has to be unique in the topic: if it is known, nothing is
    /// stored. Without one, the event gets a key of its own.
    ///
    /// A program that may be restarted, and can produce the same events again, uses their numbers,
    /// and goes on after [`TopicState::last_key`](crate::TopicState::last_key).
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

impl From<String> for FeedEvent {
    fn from(data: String) -> Self {
        Self::new(data)
    }
}

impl From<&str> for FeedEvent {
    fn from(data: &str) -> Self {
        Self::new(data)
    }
}
