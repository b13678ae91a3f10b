//! The log on disk.

mod ages;
mod check;
mod codec;
mod files;
mod index;
mod log;
mod open;
mod options;
mod order;
mod queue;
mod readers;
mod record;
mod retention;
mod sealed;
mod segment;
mod sizes;
mod state;
mod storage;
mod writer;

pub use check::{Finding, OfflineLog, Progress, Stat};
pub use log::DiskLog;
pub use options::{DiskOptions, OpenError};
pub use storage::{Storage, StorageFile};
