//! The errors of a run.

use std::io;

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The options ask for something impossible.
    #[error("{0}")]
    Usage(String),
    /// The server is unreachable or misbehaves, or not every event arrived once and in order.
    #[error("{0}")]
    Failed(String),
    /// The reader of standard output, or the program that drives the stages, has closed its end.
    #[error("standard input or output is closed")]
    ClosedPipe,
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::ClosedPipe
        } else {
            Self::Failed(error.to_string())
        }
    }
}
