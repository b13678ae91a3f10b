//! The log of a Carafe hub: it stores events in order, and the hub delivers what the log stores.
//!
//! A log implements small traits: [`Append`] stores publications and returns positions,
//! [`AppendAt`] stores what has been ordered elsewhere, and [`Read`] finds, reads and follows
//! entries. [`MemoryLog`] keeps a bounded history in memory, [`DiskLog`] on disk.
//!
//! ```
//! use carafe_log::{Append, BlockLimit, MemoryLog, Publication, Read};
//! use carafe_protocol::{Topic, TopicMatcher};
//!
//! # futures_executor::block_on(async {
//! let log = MemoryLog::default();
//! log.append(vec![Publication::new(Topic::new("orders/7")?, "espresso")]).await?;
//!
//! let orders = TopicMatcher::try_from("orders/*")?;
//! let limit = BlockLimit { entries: 100, bytes: 1 << 20 };
//! let block = log.read(0, vec![orders], limit).await?;
//! assert_eq!(block.entries[0].data(), "espresso");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! Another log can be tested with the tests of the feature `contract`.

#![cfg_attr(
    not(feature = "disk"),
    allow(dead_code, reason = "what only the log on disk uses of the shared modules")
)]

#[cfg(all(feature = "disk", not(unix)))]
compile_error!(
    "the feature `disk` of Carafe's log needs Unix: leave it out, and keep the log in memory"
);

mod access;
mod append;
mod clock;
mod clock_reading;
mod codec;
mod commit;
#[cfg(feature = "contract")]
pub mod contract;
#[cfg(feature = "disk")]
mod disk;
mod disk_error;
mod entry;
mod erasures;
mod grant;
mod key_table;
mod kind;
mod latest;
mod lifecycle;
mod memory;
mod panics;
mod placement;
mod publication;
mod publication_record;
mod read;
mod read_error;
mod readers;
mod remembered;
mod supplied_time;
mod topic_state;
mod wanted;

use std::pin::Pin;
use std::time::Duration;

pub use access::Access;
pub use append::{Append, AppendAt, AppendAtError, AppendError, Appended, OrderedAnswers};
pub use clock::{Clock, TimeSource};
pub use commit::{BadCommit, Commit, OrderedCommit};
#[cfg(feature = "disk")]
pub use disk::{
    DiskLog, DiskOptions, Finding, Loss, OfflineLog, OpenError, Progress, RepairPlan, Stat,
    Storage, StorageFile, StoredErased,
};
pub use disk_error::DiskError;
pub use entry::Entry;
pub use erasures::Erasures;
pub use grant::Grant;
pub use kind::{BadOutcome, Erase, Kind, Outcome, Removed};
pub use latest::{Latest, LatestQuery};
pub use memory::{MemoryLimits, MemoryLog};
pub use publication::{BadExternalId, BadIdempotencyKey, ExternalId, IdempotencyKey, Publication};
pub use read::{
    Block, BlockLimit, DiskUsage, Find, Followed, Follower, Picked, Read, Refill, Span,
    WaitingErasures,
};
pub use read_error::ReadError;
pub use readers::give_way;
pub use topic_state::{TopicEnd, TopicState};

/// How long a log remembers idempotency keys by default.
const KEY_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// The maximum number of ended and stopped topics that a log remembers, by default.
const ENDED_TOPICS: usize = 1_000_000;

/// The maximum number of pattern tests for one search of the last entries, by default. They take
/// some seconds of processor time.
const PATTERN_TESTS: u64 = 20_000_000;

/// The future that the methods of a log return, since they may wait for a disk.
///
/// ```
/// use carafe_log::{BoxFuture, Find, MemoryLog, Read, ReadError};
///
/// let log = MemoryLog::default();
/// let find: BoxFuture<'_, Result<Find, ReadError>> = log.find(log.span().tail);
/// assert_eq!(futures_executor::block_on(find), Ok(Find::Found));
/// ```
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A log that a hub publishes to and delivers from.
///
/// ```
/// use carafe_log::{Log, MemoryLog};
///
/// let log: Box<dyn Log> = Box::new(MemoryLog::default());
/// assert_eq!(log.span().oldest, None);
/// ```
pub trait Log: Append + Read {}

impl<L: Append + Read> Log for L {}
