//! An entry of a log.

use std::sync::Arc;
use std::time::SystemTime;

use carafe_protocol::{Offset, Position, Topic};

use crate::Publication;

/// A publication with its position in the log.
///
/// ```
/// use carafe_log::{Append, BlockLimit, MemoryLog, Publication, Read};
/// use carafe_protocol::{Topic, TopicMatcher};
///
/// # futures_executor::block_on(async {
/// let log = MemoryLog::default();
/// log.append(vec![Publication::new(Topic::new("orders/7")?, "espresso")]).await?;
///
/// let limit = BlockLimit { entries: 10, bytes: 1 << 20 };
/// let block = log.read(0, vec![TopicMatcher::any()], limit).await?;
/// let entry = &block.entries[0];
/// assert_eq!(entry.topic().as_str(), "orders/7");
/// assert_eq!(entry.data(), "espresso");
/// assert_eq!(entry.event_type(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The position of the entry in its log.
    pub position: Position,
    /// The time when the log stored the entry, by its [`Clock`](crate::Clock).
    pub time: SystemTime,
    /// The publication.
    pub publication: Publication,
}

impl Entry {
    /// The offset of the entry in its log.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.position.offset
    }

    /// The canonical topic.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        self.publication.topic()
    }

    /// The data of the event.
    #[must_use]
    pub fn data(&self) -> &str {
        self.publication.data()
    }

    /// The type of the event, if it has one.
    #[must_use]
    pub fn event_type(&self) -> Option<&str> {
        self.publication.event_type()
    }

    /// What an erasure leaves of the entry: its position, time, topics and privacy. An event
    /// becomes [`Removed::Erased`](crate::Removed::Erased). The end of a topic stays one, without
    /// its reason.
    #[must_use]
    pub fn erased(&self) -> Self {
        let publication = self.publication.erased();
        Self { position: self.position, time: self.time, publication }
    }

    /// The approximate number of bytes of memory that the entry takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        Self::weight_of(&self.publication)
    }

    /// The weight of an entry with this publication.
    pub(crate) fn weight_of(publication: &Publication) -> usize {
        size_of::<Self>() - size_of::<Publication>() + publication.weight()
    }
}

/// The entry with an offset, if it is one of these, which are in order.
pub(crate) fn entry_at(entries: &[Arc<Entry>], offset: Offset) -> Option<&Arc<Entry>> {
    let at = entries.binary_search_by_key(&offset, |entry| entry.offset()).ok()?;
    entries.get(at)
}
