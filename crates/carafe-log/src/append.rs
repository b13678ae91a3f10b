//! The faces of a log that take events in.

use carafe_protocol::{Offset, Position};

use crate::{BoxFuture, DiskError, Entry, Publication, ReadError};

/// Takes publications in and gives positions out.
pub trait Append: Send + Sync {
    /// Stores a batch in order, whole or not at all, and answers when it is as durable as this log
    /// makes it.
    ///
    /// A publication whose idempotency key its topic has seen is not stored again; it gets the
    /// position of the first. Once polled, the append happens even if the future is then dropped.
    fn append(&self, batch: Vec<Publication>) -> BoxFuture<'_, Result<Vec<Appended>, AppendError>>;
}

/// Where a publication went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The position of the entry.
    pub position: Position,
    /// Whether the entry was there before, under the same idempotency key.
    pub repeated: bool,
}

/// Why nothing of a batch was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The batch is larger than the log keeps.
    #[error("the batch takes {bytes} bytes and the log keeps {limit}: publish less at once")]
    TooLarge {
        /// What the batch takes.
        bytes: usize,
        /// What the log keeps.
        limit: usize,
    },
    /// More waits to be stored than may. Whether this was stored is certain: it was not.
    #[error("more events wait to be stored than may: publish again in a moment")]
    Busy,
    /// The disk is full. Nothing of this was stored; readers go on.
    #[error("the disk is full: free some room and publish again")]
    Full,
    /// The process has no file descriptors left. Nothing of this was stored; readers go on.
    #[error("no more files can be opened: publish again in a moment")]
    NoDescriptors,
    /// Whether an event is there already, under its idempotency key, cannot be read. Nothing of this was stored; others are.
    #[error(
        "nothing was stored, since its idempotency keys cannot be looked up: publish again in a moment ({0})"
    )]
    Keys(#[source] ReadError),
    /// The disk failed. What was being stored may be there or not, and nothing more is taken.
    #[error("the log takes nothing more: {0}")]
    Failed(#[source] DiskError),
}

/// Takes entries in that were ordered elsewhere, under the offsets they have there.
pub trait AppendAt: Send + Sync {
    /// Stores entries whose offsets grow and lie beyond the tail, all or none.
    ///
    /// # Errors
    /// When an offset does not lie beyond the one before it.
    fn append_at(&self, entries: Vec<Entry>) -> BoxFuture<'_, Result<(), AppendAtError>>;
}

/// Why supplied entries were not stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendAtError {
    /// They are not in order.
    #[error("entry {offset} does not lie beyond {tail}: entries are supplied in order, each once")]
    OutOfOrder {
        /// The offset that was supplied.
        offset: Offset,
        /// The one it had to lie beyond.
        tail: Offset,
    },
    /// The log cannot store them.
    #[error(transparent)]
    Append(#[from] AppendError),
}
