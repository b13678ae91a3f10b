//! A failure of the disk or of a thread that uses it, as a part of other errors.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

/// A failure of the disk, or of a thread of the log that uses it.
///
/// [`source`](Error::source) is the error of the operating system, if there is one. Two of these
/// errors are equal if their texts are equal.
///
/// ```
/// use std::error::Error;
/// use std::io;
///
/// use carafe_log::DiskError;
///
/// let error = DiskError::from(io::Error::other("the cable is unplugged"));
/// assert_eq!(error.to_string(), "the cable is unplugged");
/// assert!(error.source().is_some());
/// ```
#[derive(Clone, Debug)]
pub struct DiskError {
    text: String,
    source: Option<Arc<io::Error>>,
}

impl DiskError {
    /// The failure of an operation that `what` describes, such as `cannot sync`.
    pub(crate) fn of(what: &str, error: io::Error) -> Self {
        Self { text: format!("{what}: {error}"), source: Some(Arc::new(error)) }
    }
}

impl From<io::Error> for DiskError {
    fn from(error: io::Error) -> Self {
        Self { text: error.to_string(), source: Some(Arc::new(error)) }
    }
}

impl From<String> for DiskError {
    fn from(text: String) -> Self {
        Self { text, source: None }
    }
}

impl From<&str> for DiskError {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for DiskError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl PartialEq for DiskError {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for DiskError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReadError;

    #[test]
    fn an_error_of_reading_leads_to_the_error_of_the_operating_system() {
        let error = ReadError::Disk(io::Error::from(io::ErrorKind::TimedOut).into());
        let disk = error.source().unwrap();
        let source = disk.source().and_then(|source| source.downcast_ref::<io::Error>()).unwrap();
        assert_eq!(source.kind(), io::ErrorKind::TimedOut);
    }
}
