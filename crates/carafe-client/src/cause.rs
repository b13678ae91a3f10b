//! The error behind an error.

use std::fmt;
use std::sync::Arc;

/// The error below an error of this crate: of the connection, the program's token or store, a
/// response that cannot be read, or a URL that cannot be parsed.
///
/// Its text is that of the innermost error, which a person can act on: `Connection refused`
/// instead of `error sending request`. [`source`](std::error::Error::source) is the whole error, if
/// there is one. Two of these errors are equal if their texts are equal.
///
/// ```no_run
/// use std::error::Error;
///
/// use carafe_client::{Publish, PublisherError, Publisher};
///
/// # async fn example() {
/// let hub = Publisher::new("http://127.0.0.1:3000");
/// if let Err(PublisherError::Unreachable { reason, .. }) = hub.publish(&Publish::to("a", "b")).await {
///     println!("{reason}, because of {:?}", reason.source());
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Cause {
    text: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Cause {
    /// Keeps the error, and takes the text of its innermost source.
    pub(crate) fn of(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        let mut innermost: &dyn std::error::Error = &error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        Self { text: innermost.to_string(), source: Some(Arc::new(error)) }
    }
}

impl From<String> for Cause {
    fn from(text: String) -> Self {
        Self { text, source: None }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Cause {}
