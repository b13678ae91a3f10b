//! The traits of a log that store events.

use std::future::ready;

use carafe_protocol::{Offset, Position, Topic};

use crate::{BoxFuture, DiskError, Entry, Outcome, Publication, ReadError};

/// Stores publications and returns their positions.
///
/// ```
/// use carafe_log::{Append, MemoryLog, Publication};
/// use carafe_protocol::Topic;
///
/// # futures_executor::block_on(async {
/// let log = MemoryLog::default();
/// let appended = log.append(vec![Publication::new(Topic::new("orders")?, "espresso")]).await?;
/// assert_eq!(appended[0].position.offset, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub trait Append: Send + Sync {
    /// Stores a batch in order: all publications or none. Completes when the batch is as durable as
    /// this log makes it. Returns one answer for each publication, in the order of the batch.
    ///
    /// A publication whose idempotency key is known in its topic is not stored again. It gets the
    /// position of the first one. Once the future is polled, the append happens even if the future
    /// is dropped.
    ///
    /// Then the state of its topics decides: an event or a stop of an ended topic is refused. The
    /// same end again, or a stop of a topic that was stopped, is not stored again, and gets the
    /// position of the first one. All this is decided in the order of the log.
    ///
    /// Batches without idempotency keys are stored in the order in which their futures were first
    /// polled: a publisher need not wait for one before it begins with the next.
    fn append(&self, batch: Vec<Publication>) -> BoxFuture<'_, Result<Vec<Appended>, AppendError>>;

    /// Stores what was appended before, and rejects what is appended from then on. Completes when
    /// the log may be abandoned: nothing of it is left to write. Reading still works.
    ///
    /// By default there is nothing to do.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }
}

/// The answer for one stored publication.
///
/// ```
/// use carafe_log::{Append, IdempotencyKey, MemoryLog, Publication};
/// use carafe_protocol::Topic;
///
/// # futures_executor::block_on(async {
/// let log = MemoryLog::default();
/// let order = Publication::new(Topic::new("orders")?, "espresso")
///     .with_key(IdempotencyKey::new("order-7")?);
/// let appended = log.append(vec![order.clone(), order]).await?;
/// assert_eq!(appended[0].position, appended[1].position);
/// assert_eq!((appended[0].repeated, appended[1].repeated), (false, true));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The position of the entry.
    pub position: Position,
    /// Whether the entry was already stored: with the same idempotency key, or as the same end or
    /// stop of its topic.
    pub repeated: bool,
}

/// The batch was not stored, or is not known to be stored.
///
/// ```
/// use carafe_log::{Append, AppendError, MemoryLimits, MemoryLog, Publication};
/// use carafe_protocol::Topic;
///
/// # futures_executor::block_on(async {
/// let log = MemoryLog::new(MemoryLimits::default().with_bytes(10));
/// let large = Publication::new(Topic::new("orders")?, "espresso");
/// assert!(matches!(log.append(vec![large]).await, Err(AppendError::TooLarge { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The batch is larger than the history that the log keeps.
    #[error("the batch takes {bytes} bytes and the log keeps {limit}: publish less at once")]
    TooLarge {
        /// The size of the batch in bytes.
        bytes: usize,
        /// The maximum size of a batch in bytes.
        limit: usize,
    },
    /// Too many bytes of events wait to be stored. The batch was not stored.
    #[error("too many events wait to be stored: publish again in a moment")]
    Busy,
    /// The log was closed. The batch was not stored. Reading still works.
    #[error("the log is closed: open it again to store more")]
    Closed,
    /// The disk is full. The batch was not stored. Reading still works.
    #[error("the disk is full: free some room and publish again")]
    Full,
    /// The process has no file descriptors left. The batch was not stored. Reading still works.
    #[error("the process cannot open more files: publish again in a moment")]
    NoDescriptors,
    /// The log cannot be read to look up the idempotency keys of the batch. The batch was not
    /// stored. Other batches are stored.
    #[error(
        "nothing was stored, since its idempotency keys cannot be looked up: publish again in a \
         moment ({0})"
    )]
    Keys(#[source] ReadError),
    /// A topic of the batch has ended. The batch was not stored.
    #[error("the topic `{topic}` has ended ({outcome}): publish to another topic, or reopen it")]
    Ended {
        /// The topic.
        topic: Topic,
        /// How it has ended.
        outcome: Outcome,
        /// The position of its end. `None` if the end is in the same batch, and was not stored
        /// either.
        position: Option<Position>,
    },
    /// The log remembers the end or the stop of as many topics as it may. The batch was not stored.
    #[error(
        "the log remembers {limit} ended or stopped topics, which is its limit: end topics after \
         older ends have left the history, or raise the limit"
    )]
    TooManyEnded {
        /// The maximum number of topics.
        limit: usize,
    },
    /// As many erasures as the log may remember are not carried out yet. The batch was not stored.
    #[error(
        "{limit} erasures wait until their events have left the disk, which is the limit: erase \
         again later"
    )]
    TooManyErasures {
        /// The maximum number of erasures.
        limit: usize,
    },
    /// The disk failed. The batch may be stored or not. The log stores nothing more until it is
    /// opened again.
    #[error("the log stores nothing more: {0}")]
    Failed(#[source] DiskError),
}

/// Stores entries that another node has ordered, with the offsets that they have there. That node
/// has decided over ends: they are applied, and nothing is refused for them.
///
/// ```
/// use carafe_log::{AppendAt, Entry, MemoryLimits, MemoryLog, Publication, Read};
/// use carafe_protocol::{Generation, Position, Topic};
///
/// # futures_executor::block_on(async {
/// let generation = Generation::new(7);
/// let log = MemoryLog::with_generation(MemoryLimits::default(), generation);
/// let entry = Entry {
///     position: Position { generation, offset: 42, nonce: 1 },
///     time: log.clock().now(),
///     publication: Publication::new(Topic::new("orders")?, "espresso"),
/// };
/// log.append_at(vec![entry]).await?;
/// assert_eq!(log.span().tail.offset, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub trait AppendAt: Send + Sync {
    /// Stores entries: all or none. Their offsets have to increase and to be larger than that of
    /// the tail.
    ///
    /// # Errors
    /// When an offset is not larger than the one before it, or the log cannot store the entries.
    fn append_at(&self, entries: Vec<Entry>) -> BoxFuture<'_, Result<(), AppendAtError>>;
}

/// The entries of another node were not stored.
///
/// ```
/// use carafe_log::{AppendAt, AppendAtError, Entry, MemoryLog, Publication, Read};
/// use carafe_protocol::Topic;
///
/// # futures_executor::block_on(async {
/// let log = MemoryLog::default();
/// let (position, time) = (log.span().tail, log.clock().now());
/// let entry = Entry { position, time, publication: Publication::new(Topic::new("a")?, "") };
/// let error = log.append_at(vec![entry]).await;
/// assert_eq!(error, Err(AppendAtError::OutOfOrder { offset: 0, tail: 0 }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendAtError {
    /// The entries are not in order.
    #[error("entry {offset} does not follow {tail}: supply entries in order, each once")]
    OutOfOrder {
        /// The offset of the entry.
        offset: Offset,
        /// The offset before it.
        tail: Offset,
    },
    /// The log cannot store them.
    #[error(transparent)]
    Append(#[from] AppendError),
}
