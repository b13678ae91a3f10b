//! The log on disk.
//!
//! Modules depend on each other in this order: `format` knows only the form of files; `index` and
//! `segment` build on it; `view` and `state` hold the segments that there are; `read` and `write`
//! work on them; `maintain` opens, checks and repairs; `log` puts all together.

#[cfg(test)]
mod costs;
mod format;
mod index;
mod log;
mod maintain;
mod options;
mod read;
mod segment;
mod sizes;
mod state;
mod storage;
mod view;
mod write;

pub use log::DiskLog;
pub use maintain::check::{Finding, OfflineLog, Progress, Stat};
pub use maintain::repair::{Loss, RepairPlan};
pub use options::{DiskOptions, OpenError};
pub use storage::{Storage, StorageFile};
