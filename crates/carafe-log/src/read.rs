//! The face of a log that gives entries back.

use std::sync::Arc;

use carafe_protocol::{Offset, Position, TopicMatcher};

use crate::{Access, BoxFuture, Clock, DiskError, Entry, ExternalId};

/// Finds, reads and follows.
pub trait Read: Send + Sync {
    /// The clock that gives entries their time, and by which their age is told.
    fn clock(&self) -> Clock;

    /// What the log holds now.
    fn span(&self) -> Span;

    /// Says whether reading can go on after `position`.
    fn find(&self, position: Position) -> BoxFuture<'_, Result<Find, ReadError>>;

    /// The position of the earliest kept entry of any topic that has this external ID and that
    /// `access` shows. An idempotency key is an external ID, too.
    fn find_external_id(
        &self,
        id: ExternalId,
        access: Access,
    ) -> BoxFuture<'_, Result<Option<Position>, ReadError>>;

    /// Reads entries after `after` that one of `wanted` matches, in order.
    ///
    /// A block may be empty although there is more to come: it says how far it looked.
    fn read(
        &self,
        after: Offset,
        wanted: Vec<TopicMatcher>,
        limit: BlockLimit,
    ) -> BoxFuture<'_, Result<Block, ReadError>>;

    /// The position after which reading gives the last `count` entries that `wanted` matches, of
    /// those that `access` shows.
    fn before_last(
        &self,
        count: usize,
        wanted: Vec<TopicMatcher>,
        access: Access,
    ) -> BoxFuture<'_, Result<Position, ReadError>>;

    /// Answers with the newest entries, of about `recent` bytes at most, and hands every further
    /// batch of durable entries to `follower`, in order.
    ///
    /// The follower is called while the log orders its entries: it must be quick, and must not call
    /// the log.
    fn follow(&self, recent: usize, follower: Follower) -> Followed;
}

/// From where a follower follows.
#[derive(Clone, Debug)]
pub struct Followed {
    /// The position before the recent entries.
    pub after: Position,
    /// The entries up to the tail at the moment of following.
    pub recent: Vec<Arc<Entry>>,
}

/// Gets each batch of durable entries, in order.
pub type Follower = Box<dyn Fn(&[Arc<Entry>]) + Send + Sync>;

/// What a log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The position just before the oldest entry that is kept.
    pub start: Position,
    /// The oldest entry that is kept.
    pub oldest: Option<Position>,
    /// The newest entry, or the start where there is none.
    pub tail: Position,
}

/// How a position stands to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Everything after it is kept.
    Found,
    /// Entries after it are gone.
    Trimmed,
    /// This log never gave it out.
    Foreign,
    /// This log gave it out, or one that it was restored from, but what came after `common` has
    /// been lost since. `common` is found.
    Lost {
        /// The last position that both have.
        common: Position,
    },
    /// It lies beyond the tail, and another node may still deliver what lies between: only a log
    /// that is supplied with its entries ([`AppendAt`](crate::AppendAt)) answers this.
    Ahead,
}

/// How much a block may hold. It holds at least one entry if there is one.
#[derive(Clone, Copy, Debug)]
pub struct BlockLimit {
    /// Entries at most.
    pub entries: usize,
    /// Bytes at most, by [`Entry::weight`].
    pub bytes: usize,
}

/// Some entries, and how far the log was looked through for them.
#[derive(Clone, Debug)]
pub struct Block {
    /// The entries, in order.
    pub entries: Vec<Arc<Entry>>,
    /// Up to here, nothing else was wanted.
    pub up_to: Position,
}

/// Why entries cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Entries after the offset are gone.
    #[error("the history after offset {after} is gone; it now begins after {start}")]
    Trimmed {
        /// After where reading was asked for.
        after: Offset,
        /// After where reading is possible.
        start: Position,
    },
    /// Finding it would take more than one request may.
    #[error(
        "the last events cannot be found within {limit} tests of a pattern: ask for fewer patterns or for topics by name, or read from an earlier event on"
    )]
    TooMuchWork {
        /// How many tests of a pattern one request may take.
        limit: u64,
    },
    /// Entries after the offset are lost, since the log was damaged and repaired.
    #[error("the history after offset {after} up to {up_to} is lost")]
    Lost {
        /// After where reading was asked for.
        after: Offset,
        /// After where reading is possible.
        up_to: Position,
    },
    /// What is on the disk is not what was written there.
    #[error("the log is damaged: {0}; stop the hub and run `carafe log verify`")]
    Damaged(String),
    /// The disk cannot be read.
    #[error("the log cannot be read: {0}")]
    Disk(#[source] DiskError),
}
