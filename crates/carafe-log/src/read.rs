//! The trait of a log that finds, reads and follows entries.

use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use carafe_protocol::{Offset, Position, Topic, TopicMatcher};

use crate::latest::Newest;
use crate::{
    Access, BoxFuture, Clock, Entry, ExternalId, Latest, LatestQuery, ReadError, TopicState,
};

/// Finds, reads and follows entries.
///
/// ```
/// use carafe_log::{Access, Append, BlockLimit, MemoryLog, Publication, Read};
/// use carafe_protocol::{Topic, TopicMatcher};
///
/// # futures_executor::block_on(async {
/// let log = MemoryLog::default();
/// let topic = Topic::new("orders")?;
/// for order in ["espresso", "latte", "mocha"] {
///     log.append(vec![Publication::new(topic.clone(), order)]).await?;
/// }
/// let wanted = vec![TopicMatcher::from(topic)];
/// let before = log.before_last(2, wanted.clone(), Access::public()).await?;
/// let limit = BlockLimit { entries: 100, bytes: 1 << 20 };
/// let block = log.read(before.offset, wanted, limit).await?;
/// assert_eq!(block.entries.iter().map(|entry| entry.data()).collect::<Vec<_>>(), ["latte", "mocha"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub trait Read: Send + Sync {
    /// The clock that determines the time of new entries and the age of stored ones.
    fn clock(&self) -> Clock;

    /// The oldest and the newest position that the log holds now.
    fn span(&self) -> Span;

    /// What the log takes on disk; `None` for a log that is not there.
    fn disk_usage(&self) -> Option<DiskUsage> {
        None
    }

    /// What this log could be filled with again from elsewhere. `None` for a log that nothing
    /// fills.
    fn refill(&self) -> Option<Refill> {
        None
    }

    /// The erasures whose events may still be stored. Readers do not get these events.
    fn waiting_erasures(&self) -> WaitingErasures {
        WaitingErasures::default()
    }

    /// Whether a topic has ended, and whether its producer was asked to stop. Answers from memory.
    /// The state is at least as new as the newest entry that a reader or follower has.
    fn topic_state(&self, topic: &Topic) -> TopicState;

    /// The number of topics that the log knows to have ended or to be stopped.
    fn ended_topics(&self) -> usize;

    /// Waits until the log has everything that was published before this call, at whatever node.
    /// By default it has.
    ///
    /// # Errors
    /// [`ReadError::Behind`] if that takes too long, or cannot be found out.
    fn catch_up(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(ready(Ok(())))
    }

    /// The number of idempotency keys of trimmed entries that still decide over what is supplied.
    ///
    /// By default, keys are known as long as their entries are kept.
    fn remembered_keys(&self) -> usize {
        0
    }

    /// Whether a log that is supplied was opened without keys and ends that still decide over what
    /// is supplied: their entries were trimmed. It has to be filled again.
    fn lacks_keys(&self) -> bool {
        false
    }

    /// Whether reading can resume after `position`.
    fn find(&self, position: Position) -> BoxFuture<'_, Result<Find, ReadError>>;

    /// The position of the earliest kept entry of any topic that has this external ID and that
    /// `access` shows. An idempotency key is an external ID, too.
    fn find_external_id(
        &self,
        id: ExternalId,
        access: Access,
    ) -> BoxFuture<'_, Result<Option<Position>, ReadError>>;

    /// Reads entries after `after` that at least one of `wanted` matches, in order.
    ///
    /// A block may be empty although more entries follow: [`Block::up_to`] is how far the log has
    /// searched.
    fn read(
        &self,
        after: Offset,
        wanted: Vec<TopicMatcher>,
        limit: BlockLimit,
    ) -> BoxFuture<'_, Result<Block, ReadError>>;

    /// The position before the last `count` events that at least one of `wanted` matches and that
    /// `access` shows. Other entries do not [count](crate::Publication::counts).
    fn before_last(
        &self,
        count: usize,
        wanted: Vec<TopicMatcher>,
        access: Access,
    ) -> BoxFuture<'_, Result<Position, ReadError>>;

    /// The position before an offset: that of the newest stored entry before it, or else of the
    /// start of the log.
    ///
    /// This default reads the log.
    fn before(&self, offset: Offset) -> BoxFuture<'_, Result<Position, ReadError>> {
        Box::pin(before_by_reading(self, offset))
    }

    /// The newest events of each topic. Entries of other kinds do not count.
    ///
    /// This default reads the whole log.
    fn latest(&self, query: LatestQuery) -> BoxFuture<'_, Result<Latest, ReadError>> {
        Box::pin(latest_by_reading(self, query))
    }

    /// Reads the entries at these offsets, which are in order. Entries that are no longer stored
    /// are left out.
    ///
    /// This default reads them one by one.
    fn read_at(
        &self,
        offsets: Vec<Offset>,
        limit: BlockLimit,
    ) -> BoxFuture<'_, Result<Picked, ReadError>> {
        Box::pin(read_one_by_one(self, offsets, limit))
    }

    /// Registers a follower, which receives each further batch of durable entries in order. Returns
    /// the newest entries, of about `recent` bytes at most. No entry is missing or repeated between
    /// the two. Readers of the log may have an entry before the follower has it.
    ///
    /// The log calls the follower while it holds the lock that orders entries. So the follower must
    /// be quick and must not call the log.
    fn follow(&self, recent: usize, follower: Follower) -> Followed;
}

/// What is kept elsewhere of the entries of a log that is [filled](crate::AppendAt): another one
/// that starts empty has no older entry.
///
/// ```
/// use carafe_log::{MemoryLog, Read};
///
/// assert_eq!(MemoryLog::default().refill(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refill {
    /// Entries up to this offset are not kept there any more.
    pub after: Offset,
    /// How long entries are kept there. `None` if there is no such limit.
    pub age: Option<Duration>,
}

/// What a log takes on disk.
///
/// ```
/// use carafe_log::{MemoryLog, Read};
///
/// assert_eq!(MemoryLog::default().disk_usage(), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiskUsage {
    /// Bytes of all segments with their indexes, without space that is allocated and not used.
    pub bytes: u64,
    /// Segments, including the one that is being written.
    pub segments: u64,
}

impl DiskUsage {
    /// So many bytes in so many segments.
    #[must_use]
    pub fn new(bytes: u64, segments: u64) -> Self {
        Self { bytes, segments }
    }
}

/// Erasures whose events may still be on the disk.
///
/// ```
/// use carafe_log::{MemoryLog, Read, WaitingErasures};
///
/// assert_eq!(MemoryLog::default().waiting_erasures(), WaitingErasures::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitingErasures {
    /// The number of erased topics and events.
    pub count: usize,
    /// The time of the oldest erasure.
    pub since: Option<SystemTime>,
}

/// The newest entries at the moment when a follower was registered.
///
/// ```
/// use carafe_log::{MemoryLog, Read};
///
/// let log = MemoryLog::default();
/// let followed = log.follow(1 << 20, Box::new(|batch| println!("{} entries", batch.len())));
/// assert_eq!((followed.after, followed.recent.len()), (log.span().start, 0));
/// ```
#[derive(Clone, Debug)]
pub struct Followed {
    /// The position before the newest entries.
    pub after: Position,
    /// The newest entries up to the tail.
    pub recent: Vec<Arc<Entry>>,
}

/// A function that receives each batch of durable entries, in order.
///
/// ```
/// use carafe_log::{Follower, MemoryLog, Read};
///
/// let follower: Follower = Box::new(|batch| println!("{} entries", batch.len()));
/// MemoryLog::default().follow(0, follower);
/// ```
pub type Follower = Box<dyn Fn(&[Arc<Entry>]) + Send + Sync>;

/// The extent of a log.
///
/// ```
/// use carafe_log::{MemoryLog, Read};
///
/// let span = MemoryLog::default().span();
/// assert_eq!((span.oldest, span.tail), (None, span.start));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The position before the oldest stored entry.
    pub start: Position,
    /// The position of the oldest stored entry.
    pub oldest: Option<Position>,
    /// The position of the newest stored entry, or `start` if there is none.
    pub tail: Position,
}

/// The relation of a position to a log.
///
/// The enum is exhaustive: a reader has to handle each case, or it would skip entries silently.
///
/// ```
/// use carafe_log::{Find, MemoryLog, Read};
///
/// # futures_executor::block_on(async {
/// let log = MemoryLog::default();
/// assert_eq!(log.find(log.span().tail).await, Ok(Find::Found));
/// assert_eq!(log.find(MemoryLog::default().span().tail).await, Ok(Find::Foreign));
/// # });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// All entries after the position are stored.
    Found,
    /// Entries after the position were trimmed.
    Trimmed,
    /// This log never assigned the position.
    Foreign,
    /// This log assigned the position, or a log from which this one was restored, but the entries
    /// after `common` have been lost since. [`Read::find`] finds `common`.
    Lost {
        /// The last position that the log and the reader have in common.
        common: Position,
    },
    /// The position is beyond the tail, and another node may still supply the entries up to it.
    /// If it is still so after the log has [caught up](Read::catch_up), the entries are lost. Only
    /// a log that is supplied with entries ([`AppendAt`](crate::AppendAt)) returns this.
    Ahead,
}

/// The maximum size of a block. A block has at least one entry if there is one.
///
/// ```
/// use carafe_log::BlockLimit;
///
/// let limit = BlockLimit { entries: 100, bytes: 1 << 20 };
/// # drop(limit);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct BlockLimit {
    /// The maximum number of entries.
    pub entries: usize,
    /// The maximum number of bytes, by [`Entry::weight`].
    pub bytes: usize,
}

/// Entries that were read, and how far the log was searched for them.
///
/// ```
/// use carafe_log::{Block, BlockLimit, MemoryLog, Read};
///
/// # futures_executor::block_on(async {
/// let log = MemoryLog::default();
/// let limit = BlockLimit { entries: 100, bytes: 1 << 20 };
/// let Block { entries, up_to } = log.read(0, Vec::new(), limit).await?;
/// assert_eq!((entries.len(), up_to), (0, log.span().tail));
/// # Ok::<(), carafe_log::ReadError>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Block {
    /// The entries, in order.
    pub entries: Vec<Arc<Entry>>,
    /// The position up to which no other entry matches.
    pub up_to: Position,
}

/// Entries that were read by their offsets, and how far that came.
///
/// ```
/// use carafe_log::{Append, BlockLimit, MemoryLog, Publication, Read};
/// use carafe_protocol::Topic;
///
/// # futures_executor::block_on(async {
/// let log = MemoryLog::default();
/// for data in ["1", "2", "3"] {
///     log.append(vec![Publication::new(Topic::new("a")?, data)]).await?;
/// }
/// let limit = BlockLimit { entries: 1, bytes: 1 << 20 };
/// let picked = log.read_at(vec![1, 3], limit).await?;
/// assert_eq!((picked.entries[0].data(), picked.passed), ("1", 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Picked {
    /// The entries, in order.
    pub entries: Vec<Arc<Entry>>,
    /// How many of the offsets are done: at least one, if there was one.
    pub passed: usize,
}

/// How much of the log the defaults of [`Read`] read at once.
const BLOCK: BlockLimit = BlockLimit { entries: 256, bytes: 64 << 10 };

async fn latest_by_reading<L: Read + ?Sized>(
    log: &L,
    query: LatestQuery,
) -> Result<Latest, ReadError> {
    let (up_to, start) = (log.span().tail, log.span().start.offset);
    let (mut entries, mut after) = (Vec::new(), query.after.max(start));
    while after < up_to.offset {
        let block = log.read(after, query.wanted.clone(), BLOCK).await?;
        entries.extend(block.entries);
        after = block.up_to.offset;
    }
    let mut newest = Newest::new(&query);
    for entry in entries.iter().rev().filter(|entry| entry.offset() <= up_to.offset) {
        let is_wanted = |topic: &Topic| query.wanted.iter().any(|matcher| matcher.matches(topic));
        newest.take(entry, is_wanted, || query.access.shows(&entry.publication))?;
    }
    Ok(newest.finish(up_to))
}

async fn before_by_reading<L: Read + ?Sized>(
    log: &L,
    offset: Offset,
) -> Result<Position, ReadError> {
    let (mut position, tail) = (log.span().start, log.span().tail);
    while position.offset < tail.offset && position.offset.saturating_add(1) < offset {
        let block = log.read(position.offset, vec![TopicMatcher::any()], BLOCK).await?;
        if block.up_to.offset >= offset {
            let before = block.entries.iter().rev().find(|entry| entry.offset() < offset);
            return Ok(before.map_or(position, |entry| entry.position));
        }
        position = block.up_to;
    }
    Ok(position)
}

async fn read_one_by_one<L: Read + ?Sized>(
    log: &L,
    offsets: Vec<Offset>,
    limit: BlockLimit,
) -> Result<Picked, ReadError> {
    let (mut picked, mut bytes) = (Picked { entries: Vec::new(), passed: 0 }, 0);
    let one = BlockLimit { entries: 1, ..limit };
    for offset in offsets {
        let read = log.read(offset.saturating_sub(1), vec![TopicMatcher::any()], one).await;
        let entry = match read {
            Err(ReadError::Trimmed { .. } | ReadError::Lost { .. }) => None,
            block => block?.entries.into_iter().next().filter(|entry| entry.offset() == offset),
        };
        bytes += entry.as_ref().map_or(0, |entry| entry.weight());
        let is_full = picked.entries.len() >= limit.entries || bytes > limit.bytes;
        if is_full && !picked.entries.is_empty() {
            break;
        }
        picked.entries.extend(entry);
        picked.passed += 1;
    }
    Ok(picked)
}
