//! The traits of a log that store events.

use std::future::ready;

use carafe_protocol::{Offset, Position, Topic};

use crate::{BoxFuture, DiskError, Entry, OrderedCommit, Outcome, Publication, ReadError};

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
    /// A log that several nodes share remembers as many idempotency keys of trimmed entries as it
    /// may. The batch was not stored.
    #[error(
        "the cluster remembers {limit} idempotency keys of events that have left the history, \
         which is the limit: publish without `id`, or lower --key-window on all nodes"
    )]
    TooManyKeys {
        /// The maximum number of keys.
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
    /// What puts the events of several nodes in order does not answer. The batch may be stored or
    /// not, and may be stored later.
    #[error(
        "it is not known whether the events are stored, since the cluster does not answer: publish \
         them again in a moment, with the same idempotency keys"
    )]
    Unavailable,
    /// What puts the events of several nodes in order refuses the batch, as it says. The batch was
    /// not stored.
    #[error(
        "nothing was stored, since the cluster's engine refuses it: {0}; the operator has to make \
         room in the engine, to raise a limit, or to grant a permission, before it is published \
         again"
    )]
    Refused(String),
    /// The disk failed. The batch may be stored or not. The log stores nothing more until it is
    /// opened again.
    #[error("the log stores nothing more: {0}")]
    Failed(#[source] DiskError),
}

/// Stores what has been ordered elsewhere, with the offsets that it has there.
///
/// [`append_at`](Self::append_at) takes the entries of another node, which has decided over keys
/// and ends: they are applied, and nothing is refused for them.
/// [`append_ordered`](Self::append_ordered) takes commits that nobody has decided over: each node
/// decides alike, since all see the same commits in the same order.
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

    /// Decides over each batch as [`Append::append`] does, in order, and stores what is new, at the
    /// offsets that the commits say. Returns an answer for each batch of each commit.
    ///
    /// A decision depends on what comes before in the log, and on the times of the commits alone:
    /// not on the clock of this node, and not on how commits are divided into calls. What decides
    /// is less than the key window of the log older than the commit: not only keys, but also ends
    /// and stops. So nodes decide alike that have trimmed older entries at different places. An
    /// event of a topic with an older end is stored, and the topic is not ended from then on.
    ///
    /// Some refusals of `append` are none here, since they depend on the node: no batch is [too
    /// large](AppendError::TooLarge), and neither [ends](AppendError::TooManyEnded) nor
    /// [erasures](AppendError::TooManyErasures) are too many.
    ///
    /// The entries of a commit appear to readers at once, and are durable at once. Several commits
    /// of a call may share a sync.
    ///
    /// Call it again only after the answer to the last call: a commit that is overtaken by another
    /// one is out of order.
    ///
    /// # Errors
    /// When a commit does not follow the tail, or the one before it, with all offsets that its
    /// publications may have; or when the log cannot store or decide now, whatever the commits are.
    /// The first commits may be stored then: the tail says up to where.
    fn append_ordered(
        &self,
        commits: Vec<OrderedCommit>,
    ) -> BoxFuture<'_, Result<OrderedAnswers, AppendAtError>>;

    /// Notes that everything up to an offset was supplied, although the newest of it has stored
    /// nothing. A durable log tries to note it durably. If it fails, it logs why: then what is
    /// behind its newest entry may be supplied again.
    fn note_supplied(&self, up_to: Offset) -> BoxFuture<'_, ()>;

    /// The offset up to which everything was supplied: that of the newest entry, or what was
    /// [noted](Self::note_supplied) behind it.
    fn supplied_up_to(&self) -> Offset;
}

/// The answers to ordered commits: one for each batch of each commit.
///
/// ```
/// use carafe_log::{AppendAt, Commit, MemoryLimits, MemoryLog, OrderedAnswers, OrderedCommit};
/// use carafe_log::{Publication, Read};
/// use carafe_protocol::{Generation, Topic};
///
/// # futures_executor::block_on(async {
/// let log = MemoryLog::with_generation(MemoryLimits::default(), Generation::new(7));
/// let batch = vec![Publication::new(Topic::new("orders")?, "espresso")];
/// let commit = Commit { seed: 1, batches: vec![batch] };
/// let ordered = OrderedCommit { commit, first: 42, time: log.clock().now() };
/// let answers: OrderedAnswers = log.append_ordered(vec![ordered]).await?;
/// assert_eq!(answers[0][0].as_ref().unwrap()[0].position.offset, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub type OrderedAnswers = Vec<Vec<Result<Vec<Appended>, AppendError>>>;

/// What was ordered elsewhere was not stored.
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
    /// The entries or commits are not in order.
    #[error("entry {offset} does not follow {tail}: supply entries in order, each once")]
    OutOfOrder {
        /// The offset of the entry, or of the first one of a commit.
        offset: Offset,
        /// The offset before it.
        tail: Offset,
    },
    /// A log that is not supplied takes no entry so far beyond its tail.
    #[error("entry {offset} is 2^32 or more beyond {tail}: open the log as a supplied one")]
    TooFar {
        /// The offset of the entry.
        offset: Offset,
        /// The offset of the tail.
        tail: Offset,
    },
    /// The log cannot store them.
    #[error(transparent)]
    Append(#[from] AppendError),
}
