//! The log on disk.

mod active;
mod ages;
mod check;
mod codec;
#[cfg(test)]
mod costs;
mod derived;
mod files;
mod filter;
mod finder;
mod follow;
mod holes;
mod ids;
mod index;
mod index_file;
mod indexer;
mod keys;
mod last;
mod log;
mod open;
mod options;
mod order;
mod paged;
mod part;
mod postings;
mod queue;
mod read;
mod record;
mod repair;
mod retention;
mod sealed;
mod segment;
mod selection;
mod sizes;
mod state;
mod storage;
mod view;
mod writer;

pub use check::{Finding, OfflineLog, Progress, Stat};
pub use log::DiskLog;
pub use options::{DiskOptions, OpenError};
pub use repair::{Loss, RepairPlan};
pub use storage::{Storage, StorageFile};
