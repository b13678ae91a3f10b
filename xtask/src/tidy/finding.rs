//! What a check has found.

use std::fmt;

use crate::tidy::tree::File;

/// A violation, and where it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) file: String,
    /// The line, from 1 on; 0 where the whole file is meant.
    pub(super) line: usize,
    pub(super) what: String,
}

impl Finding {
    pub(super) fn new(file: &File, line: usize, what: impl Into<String>) -> Self {
        Self { file: file.path.clone(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what),
            line => write!(f, "{}:{line}: {}", self.file, self.what),
        }
    }
}
