//! The ordered record of events that a Carafe hub delivers from.
//!
//! A log has small faces, by use: [`Append`] takes publications and gives positions, [`AppendAt`]
//! takes entries that were ordered elsewhere, [`Read`] finds, reads and follows. [`MemoryLog`] keeps
//! a bounded history in memory, [`DiskLog`] one on disk.

mod append;
mod clock;
mod disk;
mod entry;
mod memory;
mod publication;
mod read;

use std::pin::Pin;

pub use append::{Append, AppendAt, AppendAtError, AppendError, Appended};
pub use clock::{Clock, TimeSource};
pub use disk::{DiskLog, DiskOptions, Finding, OfflineLog, OpenError, Progress, Stat, Storage, StorageFile};
pub use entry::Entry;
pub use memory::{MemoryLimits, MemoryLog};
pub use publication::{BadIdempotencyKey, IdempotencyKey, Publication};
pub use read::{Block, BlockLimit, Find, Followed, Follower, Read, ReadError, Span, Visible};

/// What a log answers when it may have to wait for a disk.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A log that a hub publishes to and delivers from.
pub trait Log: Append + Read {}

impl<L: Append + Read> Log for L {}
