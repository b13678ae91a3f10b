//! The faces of a log that take events in.

use carafe_protocol::{Offset, Position};

use crate::{BoxFuture, Entry, Publication};

/// Takes publications in and gives positions out.
pub trait Append: Send + Sync {
    /// Stores a batch in order, whole or not at all, and answers when it is as durable as this log makes it.
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
    #[error(
        "the batch takes {bytes} bytes and the log keeps {limit}: publish less at once or raise the history's limit"
    )]
    TooLarge {
        /// What the batch takes.
        bytes: usize,
        /// What the log keeps.
        limit: usize,
    },
}

/// Takes entries in that were ordered elsewhere, under the offsets they have there.
pub trait AppendAt: Send + Sync {
    /// Stores entries whose offsets grow and lie beyond the tail, all or none.
    ///
    /// # Errors
    /// When an offset does not lie beyond the one before it.
    fn append_at(&self, entries: Vec<Entry>) -> Result<(), AppendAtError>;
}

/// Why supplied entries were not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {offset} does not lie beyond {tail}: entries are supplied in order, each once")]
pub struct AppendAtError {
    /// The offset that was supplied.
    pub offset: Offset,
    /// The one it had to lie beyond.
    pub tail: Offset,
}
