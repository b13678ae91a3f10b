//! Erases events.

use carafe_log::{Erase, Find, Kind, Publication, ReadError, Removed};
use carafe_protocol::{Position, Topic};

use crate::client::Client;
use crate::hub::{Hub, PublishError};

/// The outcome of erasing one event.
///
/// ```
/// use carafe_hub::{EraseOne, Hub};
/// use carafe_log::{MemoryLog, Publication};
/// use carafe_protocol::Topic;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (hub, topic) = (Hub::new(MemoryLog::default()), Topic::new("users/7")?);
/// let event = hub.publish(Publication::new(topic.clone(), "secret")).await?.position;
/// assert!(matches!(hub.erase_one(&topic, event, None).await?, EraseOne::Erased(_)));
/// assert_eq!(hub.erase_one(&topic, event, None).await?, EraseOne::ErasedBefore);
/// assert_eq!(hub.erase_one(&Topic::new("a")?, event, None).await?, EraseOne::NotFound);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EraseOne {
    /// The event is erased. The position is that of the erasure.
    Erased(Position),
    /// The event was erased before.
    ErasedBefore,
    /// The log has no event of this topic at this position.
    NotFound,
}

/// Why nothing was erased.
///
/// ```
/// use carafe_hub::{EraseError, PublishError};
///
/// let error = EraseError::from(PublishError::Draining);
/// assert!(error.to_string().contains("shutting down"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EraseError {
    /// The erasure cannot be stored.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Hub {
    /// Erases all events of a topic that were published before, also those that have other topics,
    /// too. Returns the position of the erasure. Once this returns, no subscriber and no reader
    /// receives them any more. What was written to a socket before is out of reach.
    ///
    /// ```
    /// use carafe_hub::{Hub, Start, Subscribe};
    /// use carafe_log::{MemoryLog, Publication};
    /// use carafe_protocol::Topic;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (hub, topic) = (Hub::new(MemoryLog::default()), Topic::new("users/7")?);
    /// hub.publish(Publication::new(topic.clone(), "secret")).await?;
    /// let erasure = hub.erase(topic).await?;
    /// assert_eq!(erasure.offset, 2);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the hub is draining, or the log rejects the erasure.
    pub async fn erase(&self, topic: Topic) -> Result<Position, PublishError> {
        Ok(self.publish(Publication::erase(topic, Erase::Before)).await?.position)
    }

    /// Erases one event of a topic. The log is read when `client` gets a permit.
    ///
    /// # Errors
    /// When the hub is draining, the log cannot be read or may lack the event, or it rejects the
    /// erasure.
    pub async fn erase_one(
        &self,
        topic: &Topic,
        event: Position,
        client: Option<Client>,
    ) -> Result<EraseOne, EraseError> {
        // Waits for an event that only other nodes have read.
        if self.inner.find(event, client).await? != Find::Found {
            return Ok(EraseOne::NotFound);
        }
        let entry = {
            let _permit = self.inner.replay_permits.acquire(client).await;
            self.entry_at(event).await?
        };
        let Some(entry) = entry else { return Ok(EraseOne::NotFound) };
        let publication = &entry.publication;
        if !publication.topics().any(|of| of == topic) {
            return Ok(EraseOne::NotFound);
        }
        match publication.kind() {
            Kind::Event => {
                // With the canonical topic, whatever name was used: whoever holds the event looks
                // for any of its topics.
                let Position { offset, nonce, .. } = entry.position;
                let one = Erase::Event { offset, nonce };
                let erasure = Publication::erase(publication.topic().clone(), one);
                Ok(EraseOne::Erased(self.publish(erasure).await?.position))
            }
            Kind::Removed(Removed::Erased) => Ok(EraseOne::ErasedBefore),
            _ => Ok(EraseOne::NotFound),
        }
    }
}
