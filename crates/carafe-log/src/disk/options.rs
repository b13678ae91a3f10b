//! The options of a log on disk, and the errors of opening it.

use std::path::PathBuf;
use std::time::Duration;

use carafe_protocol::{Generation, Offset};

/// How much history a [`DiskLog`](crate::DiskLog) keeps, and how it works.
///
/// The log trims whole segments. So it keeps somewhat more entries than `entries` and `age` ask
/// for, and somewhat fewer bytes than `bytes` allows.
///
/// ```
/// use std::time::Duration;
///
/// use carafe_log::DiskOptions;
///
/// let options = DiskOptions::default()
///     .with_bytes(1 << 30)
///     .with_age(Duration::from_secs(7 * 24 * 60 * 60));
/// assert_eq!(options.bytes, 1 << 30);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DiskOptions {
    /// The number of entries that the log keeps at least. Entries that the hub published itself do
    /// not count. No limit by default.
    pub entries: u64,
    /// The maximum size on disk in bytes, with the indexes and the space that is allocated ahead
    /// for the newest segment. Only a batch that is nearly as large as this limit may exceed it for
    /// a moment. 16 GiB by default.
    pub bytes: u64,
    /// How long entries are kept at least. No limit by default.
    pub age: Option<Duration>,
    /// The size of a segment in bytes. [Derived](Self::segment_size) from `bytes` by default.
    pub segment_bytes: Option<u32>,
    /// The maximum number of bytes of events that wait to be stored; a further append fails with
    /// [`AppendError::Busy`](crate::AppendError::Busy). 64 MiB by default.
    pub waiting_bytes: usize,
    /// The number of threads that read history. 4 by default.
    pub readers: usize,
    /// The generation of a log that is supplied with what was ordered elsewhere
    /// ([`AppendAt`](crate::AppendAt)). An entry beyond the tail may still arrive there; in another
    /// log, a position beyond the tail means that the log has lost its tail. After a crash, the log
    /// begins no generation: what it has lost is supplied again. Its time is that of what is
    /// supplied. `None` by default.
    pub supplied: Option<Generation>,
    /// The offset before the first entry that is supplied to a new log. What is before is
    /// [trimmed](crate::Find::Trimmed). 0 by default.
    pub begins_after: Offset,
    /// How long the log remembers an idempotency key while it keeps the entry. Publishing again
    /// with a remembered key stores nothing. One day by default.
    pub key_window: Duration,
    /// The maximum number of pattern tests that one search for the last entries may take: patterns
    /// times the topics that they are tested with. 20 million by default.
    pub pattern_tests: u64,
    /// The maximum number of ended and stopped topics that the log remembers; a further end or stop
    /// fails with [`AppendError::TooManyEnded`](crate::AppendError::TooManyEnded). A million by
    /// default.
    pub ended_topics: usize,
    /// The time within which the bytes of erased events leave the disk. One hour by default.
    pub erase_within: Duration,
    /// The maximum number of erasures that the log remembers until their bytes have left the disk;
    /// a further erasure fails with
    /// [`AppendError::TooManyErasures`](crate::AppendError::TooManyErasures). 100,000 by default.
    pub erasures: usize,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            entries: u64::MAX,
            bytes: 16 << 30,
            age: None,
            segment_bytes: None,
            waiting_bytes: 64 << 20,
            readers: 4,
            supplied: None,
            begins_after: 0,
            key_window: crate::KEY_WINDOW,
            pattern_tests: crate::PATTERN_TESTS,
            ended_topics: crate::ENDED_TOPICS,
            erase_within: Duration::from_secs(60 * 60),
            erasures: 100_000,
        }
    }
}

impl DiskOptions {
    /// Sets [`entries`](Self::entries).
    #[must_use]
    pub fn with_entries(mut self, entries: u64) -> Self {
        self.entries = entries;
        self
    }

    /// Sets [`bytes`](Self::bytes).
    #[must_use]
    pub fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets [`age`](Self::age).
    #[must_use]
    pub fn with_age(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.age = age.into();
        self
    }

    /// Sets [`segment_bytes`](Self::segment_bytes).
    #[must_use]
    pub fn with_segment_bytes(mut self, segment_bytes: impl Into<Option<u32>>) -> Self {
        self.segment_bytes = segment_bytes.into();
        self
    }

    /// Sets [`waiting_bytes`](Self::waiting_bytes).
    #[must_use]
    pub fn with_waiting_bytes(mut self, waiting_bytes: usize) -> Self {
        self.waiting_bytes = waiting_bytes;
        self
    }

    /// Sets [`readers`](Self::readers).
    #[must_use]
    pub fn with_readers(mut self, readers: usize) -> Self {
        self.readers = readers;
        self
    }

    /// Sets [`supplied`](Self::supplied).
    #[must_use]
    pub fn with_supplied(mut self, generation: impl Into<Option<Generation>>) -> Self {
        self.supplied = generation.into();
        self
    }

    /// Sets [`begins_after`](Self::begins_after).
    #[must_use]
    pub fn beginning_after(mut self, offset: Offset) -> Self {
        self.begins_after = offset;
        self
    }

    /// Sets [`key_window`](Self::key_window).
    #[must_use]
    pub fn with_key_window(mut self, key_window: Duration) -> Self {
        self.key_window = key_window;
        self
    }

    /// Sets [`pattern_tests`](Self::pattern_tests).
    #[must_use]
    pub fn with_pattern_tests(mut self, pattern_tests: u64) -> Self {
        self.pattern_tests = pattern_tests;
        self
    }

    /// Sets [`erase_within`](Self::erase_within).
    #[must_use]
    pub fn with_erase_within(mut self, time: Duration) -> Self {
        self.erase_within = time;
        self
    }

    /// Sets [`erasures`](Self::erasures).
    #[must_use]
    pub fn with_erasures(mut self, erasures: usize) -> Self {
        self.erasures = erasures;
        self
    }

    /// Sets [`ended_topics`](Self::ended_topics).
    #[must_use]
    pub fn with_ended_topics(mut self, ended_topics: usize) -> Self {
        self.ended_topics = ended_topics;
        self
    }
}

/// An error of opening a log on disk.
///
/// ```no_run
/// use carafe_log::{DiskLog, DiskOptions, OpenError};
///
/// match DiskLog::open("/var/lib/carafe", DiskOptions::default()) {
///     Err(OpenError::Version { version, .. }) => println!("written by a newer version: {version}"),
///     Err(error) => println!("{error}"),
///     Ok(_) => println!("opened"),
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory cannot be used.
    #[error("cannot open the log in {}: {error}", path.display())]
    Folder {
        /// The directory.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        error: std::io::Error,
    },
    /// A file cannot be read or written.
    #[error("cannot open the log: {0}")]
    Disk(#[from] std::io::Error),
    /// A newer version of the program wrote a file in a format that this version does not know.
    /// Nothing is changed.
    #[error(
        "{file} has version {version} of the log's format, and this program knows versions up to \
         {known}: a newer version of carafe wrote it. Use that version or a later one; the log \
         cannot be converted to an older format",
        known = crate::disk::format::header::VERSION
    )]
    Version {
        /// The file.
        file: String,
        /// The version of its format.
        version: u32,
    },
    /// The log is another one: supplied and not one of its own, or the other way round, or of
    /// another generation. Nothing is changed.
    #[error("the log in this folder is not the one that is asked for: {}", other_log(*expected, *found))]
    OtherLog {
        /// The generation that is supplied. `None` if the log is not to be supplied.
        expected: Option<Generation>,
        /// The generation of the log, if it is one that is supplied.
        found: Option<Generation>,
    },
    /// A file does not have the content that the log wrote.
    #[error("the log is damaged: {0}; see `carafe log verify` and `carafe log repair`")]
    Damaged(String),
}

fn other_log(expected: Option<Generation>, found: Option<Generation>) -> String {
    match (expected, found) {
        (_, None) => {
            "it is a log of its own, and a cluster fills only logs that it has begun. Use \
                      another folder"
                .into()
        }
        (None, Some(_)) => "a cluster has filled it, and only a node of that cluster can go on \
                            with it. Use another folder"
            .into(),
        (Some(expected), Some(found)) => {
            format!("it has the generation {found}, and the cluster has {expected}")
        }
    }
}
