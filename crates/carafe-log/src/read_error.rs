//! Why entries cannot be read.

use carafe_protocol::{Offset, Position};

use crate::DiskError;

/// Entries cannot be read.
///
/// ```
/// use carafe_log::{BlockLimit, MemoryLimits, MemoryLog, Publication, Append, Read, ReadError};
/// use carafe_protocol::Topic;
///
/// # futures_executor::block_on(async {
/// let log = MemoryLog::new(MemoryLimits::default().with_entries(1));
/// let event = || Publication::new(Topic::new("a").unwrap(), "");
/// log.append(vec![event(), event()]).await.unwrap();
///
/// let limit = BlockLimit { entries: 100, bytes: 1 << 20 };
/// let error = log.read(0, Vec::new(), limit).await.unwrap_err();
/// assert_eq!(error, ReadError::Trimmed { after: 0, start: log.span().start });
/// # });
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Entries after the offset were trimmed.
    #[error("the history after offset {after} was trimmed; it now begins after {start}")]
    Trimmed {
        /// The offset after which entries were requested.
        after: Offset,
        /// The position after which entries can be read.
        start: Position,
    },
    /// The search would take more pattern tests than one request may use.
    #[error(
        "the last events cannot be found within {limit} pattern tests: request fewer patterns, or \
         topics by name, or read from an earlier event on"
    )]
    TooMuchWork {
        /// The maximum number of pattern tests of one request.
        limit: u64,
    },
    /// More entries would be found than one request may ask for.
    #[error(
        "more than {limit} events are the latest of their topics: ask for fewer topics, or read \
         from an earlier event on"
    )]
    TooManyLatest {
        /// The maximum number of events.
        limit: usize,
    },
    /// Entries after the offset are lost: the log was damaged and repaired.
    #[error("the history after offset {after} up to {up_to} is lost")]
    Lost {
        /// The offset after which entries were requested.
        after: Offset,
        /// The position after which entries can be read.
        up_to: Position,
    },
    /// The log may lack what other nodes have published, and the engine that they share does not
    /// answer, or this node does not keep up with it.
    #[error(
        "this node may not have read yet what other nodes have published: try again in a moment, \
         or at another node"
    )]
    Behind,
    /// A file does not have the content that the log wrote.
    #[error("the log is damaged: {0}; stop the hub and run `carafe log verify`")]
    Damaged(String),
    /// The disk cannot be read.
    #[error("the log cannot be read: {0}")]
    Disk(#[source] DiskError),
}
