//! What a log on disk keeps, and why it cannot be opened.

use std::path::PathBuf;
use std::time::Duration;

/// How much history a [`DiskLog`](crate::DiskLog) keeps, and how.
///
/// History is trimmed by whole segments: of entries and of age somewhat more is kept than is asked
/// for, of bytes somewhat less.
#[derive(Clone, Copy, Debug)]
pub struct DiskOptions {
    /// Entries that are kept at least, once there were so many. Those that the hub published itself
    /// do not count.
    pub entries: u64,
    /// Bytes that the log takes on the disk at most, with its indexes and with the room that is
    /// taken ahead for the newest segment. Only a batch that is nearly as large as all this may
    /// take more for a moment.
    pub bytes: u64,
    /// How long entries are kept at least.
    pub age: Option<Duration>,
    /// The size of a segment, if it is not to be [derived](Self::segment_size) from `bytes`.
    pub segment_bytes: Option<u32>,
    /// Bytes of events that may wait to be stored.
    pub waiting_bytes: usize,
    /// Threads that read history.
    pub readers: usize,
    /// Another node supplies the entries with their offsets ([`AppendAt`](crate::AppendAt)): a
    /// position beyond the tail may still arrive. Without this, such a position means that the log
    /// has lost its tail.
    pub supplied: bool,
    /// How long an idempotency key is known, while its entry is kept: publishing with it again
    /// stores nothing.
    pub key_window: Duration,
    /// Tests of a pattern that finding the last entries may take: patterns times the topics that
    /// they are tested with.
    pub pattern_tests: u64,
}

impl Default for DiskOptions {
    /// 16 GiB without other limits, segments of 64 MiB, 64 MiB that wait, 4 readers, the only
    /// writer, keys that are known for a day, 20 million tests.
    fn default() -> Self {
        Self {
            entries: u64::MAX,
            bytes: 16 << 30,
            age: None,
            segment_bytes: None,
            waiting_bytes: 64 << 20,
            readers: 4,
            supplied: false,
            key_window: crate::KEY_WINDOW,
            pattern_tests: crate::PATTERN_TESTS,
        }
    }
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder cannot be used.
    #[error("cannot open the log in {}: {error}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        error: std::io::Error,
    },
    /// A file cannot be read or written.
    #[error("cannot open the log: {0}")]
    Disk(#[from] std::io::Error),
    /// A newer program wrote a file in a format that this one does not know. Nothing was changed.
    #[error(
        "{file} has version {version} of the log's format, and this program knows versions up to {known}: a newer \
         version of carafe wrote it. Use that version, or a later one; this log cannot go back to an older one",
        known = super::segment::VERSION
    )]
    Version {
        /// The file.
        file: String,
        /// The version that it has.
        version: u32,
    },
    /// What is on the disk is not what was written there.
    #[error("the log is damaged: {0}; see `carafe log verify`, and `carafe log repair`")]
    Damaged(String),
}
