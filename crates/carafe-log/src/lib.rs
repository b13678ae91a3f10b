//! The ordered record of events that a Carafe hub delivers from.
//!
//! A log has small faces, by use: [`Append`] takes publications and gives positions, [`AppendAt`]
//! takes entries that were ordered elsewhere, [`Read`] finds, reads and follows. [`MemoryLog`]
//! keeps a bounded history in memory, [`DiskLog`] one on disk.

#![cfg_attr(
    not(feature = "disk"),
    allow(dead_code, reason = "what only the log on disk uses of the shared modules")
)]

mod access;
mod append;
mod clock;
#[cfg(feature = "contract")]
pub mod contract;
#[cfg(feature = "disk")]
mod disk;
mod disk_error;
mod entry;
mod grant;
mod memory;
mod panics;
mod publication;
mod read;
mod readers;
mod wanted;

use std::pin::Pin;
use std::time::Duration;

pub use access::Access;
pub use append::{Append, AppendAt, AppendAtError, AppendError, Appended};
pub use clock::{Clock, TimeSource};
#[cfg(feature = "disk")]
pub use disk::{
    DiskLog, DiskOptions, Finding, Loss, OfflineLog, OpenError, Progress, RepairPlan, Stat,
    Storage, StorageFile,
};
pub use disk_error::DiskError;
pub use entry::Entry;
pub use grant::Grant;
pub use memory::{MemoryLimits, MemoryLog};
pub use publication::{BadExternalId, BadIdempotencyKey, ExternalId, IdempotencyKey, Publication};
pub use read::{Block, BlockLimit, Find, Followed, Follower, Read, ReadError, Span};
pub use readers::give_way;

/// How long idempotency keys are known by default.
const KEY_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// Tests of a pattern that finding the last entries may take by default: some seconds of a
/// processor.
const PATTERN_TESTS: u64 = 20_000_000;

/// What a log answers when it may have to wait for a disk.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A log that a hub publishes to and delivers from.
pub trait Log: Append + Read {}

impl<L: Append + Read> Log for L {}
