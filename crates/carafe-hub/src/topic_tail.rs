//! What a producer asks of a topic to go on where it was.

use std::sync::Arc;

use carafe_log::{Access, BlockLimit, Entry, IdempotencyKey, ReadError};
use carafe_protocol::{Position, Topic, TopicMatcher};

use crate::client::Client;
use crate::hub::Hub;

/// How many of the newest events are searched for a key.
const SEARCHED: usize = 16;

/// A block of entries while they are searched. Their data is not kept.
const BYTES: usize = 64 << 10;

/// The newest event of a topic, and the newest idempotency key.
///
/// ```
/// use carafe_hub::{Access, Hub};
/// use carafe_log::{IdempotencyKey, MemoryLog, Publication};
/// use carafe_protocol::Topic;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (hub, topic) = (Hub::new(MemoryLog::default()), Topic::new("answers/7")?);
/// let token = Publication::new(topic.clone(), "Once").with_key(IdempotencyKey::new("1")?);
/// let appended = hub.publish(token).await?;
///
/// let tail = hub.topic_tail(&topic, &Access::all(), None).await?;
/// assert_eq!(tail.position, Some(appended.position));
/// assert_eq!(tail.key, Some(IdempotencyKey::new("1")?));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicTail {
    /// The position of the newest event.
    pub position: Option<Position>,
    /// The idempotency key of the newest event that has one, among the last 16.
    pub key: Option<IdempotencyKey>,
}

impl Hub {
    /// The newest event of a topic that `access` shows, and the newest idempotency key in it. The
    /// log is read when `client` gets a permit.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn topic_tail(
        &self,
        topic: &Topic,
        access: &Access,
        client: Option<Client>,
    ) -> Result<TopicTail, ReadError> {
        let _permit = self.inner.replay_permits.acquire(client).await;
        // Nearly always the newest event has a key, or none has one.
        match self.last_events(1, topic, access).await? {
            TopicTail { position: Some(_), key: None } => {
                self.last_events(SEARCHED, topic, access).await
            }
            tail => Ok(tail),
        }
    }

    async fn last_events(
        &self,
        count: usize,
        topic: &Topic,
        access: &Access,
    ) -> Result<TopicTail, ReadError> {
        let log = &self.inner.log;
        let (wanted, end) = (vec![TopicMatcher::from(topic.clone())], log.span().tail.offset);
        let mut after = log.before_last(count, wanted.clone(), access.clone()).await?.offset;
        let (mut tail, limit) = (TopicTail::default(), BlockLimit { entries: count, bytes: BYTES });
        while after < end {
            let block = match log.read(after, wanted.clone(), limit).await {
                // Trimmed meanwhile: the topic has no event any more.
                Err(ReadError::Trimmed { .. } | ReadError::Lost { .. }) => break,
                block => block?,
            };
            let shown = |entry: &&Arc<Entry>| {
                entry.publication.is_event() && access.shows(&entry.publication)
            };
            block.entries.iter().filter(shown).for_each(|entry| tail.move_to(entry, topic));
            after = block.up_to.offset;
        }
        Ok(tail)
    }
}

impl TopicTail {
    fn move_to(&mut self, entry: &Entry, topic: &Topic) {
        self.position = Some(entry.position);
        // A key is known within the canonical topic only.
        if entry.topic() == topic
            && let Some(key) = entry.publication.key()
        {
            self.key = Some(key.clone());
        }
    }
}
