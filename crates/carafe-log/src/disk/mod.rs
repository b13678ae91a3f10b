//! The log on disk.
//!
//! Dependencies between the modules point in one direction. `storage` is the file system. `format`
//! encodes and decodes files. `index` and `segment` use both. `view` and `state` hold the current
//! segments. `read` and `write` work on them. `maintain` opens, checks and repairs a log. `log` is
//! the public type.
//!
//! Threads: one writer appends and syncs (`write::writer`), one thread writes indexes
//! (`write::indexer`), one writes segments again without erased content (`write::rewriter`), and
//! several read (`crate::readers`). Readers use an immutable `View` and atomics, and take no lock
//! of the writer.
//!
//! Locks: no thread holds one lock of the log while it acquires another, except the locks inside an
//! index, which only the thread that adds entries uses. Followers run while the state in
//! `state::DiskShared` is locked; so a follower must not call the log. No lock is held while a file
//! is read or written, except one per segment while its index is made again, one per selection
//! while it is made, one while the mark of what was supplied is written (`noted`), and one while
//! the file of a sealed segment is removed or replaced. Under that one, the lock of the state is
//! taken.

#[cfg(test)]
mod costs;
mod format;
mod index;
mod log;
mod maintain;
mod noted;
mod options;
mod pace;
mod read;
mod segment;
mod sizes;
mod state;
mod storage;
mod view;
mod write;

pub use log::DiskLog;
pub use maintain::check::{Finding, OfflineLog, Progress, Stat};
pub use maintain::erased::StoredErased;
pub use maintain::repair::{Loss, RepairPlan};
pub use options::{DiskOptions, OpenError};
pub use storage::{Storage, StorageFile};
