//! The errors of reading a stream, and the failures of one connection that lead to another.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use carafe_protocol::EventTooLarge;

/// The reason why one connection cannot be made or has ended. The event source connects again.
///
/// ```
/// use carafe_client::{EventSource, Lost};
///
/// let source = EventSource::options("http://127.0.0.1:3000/events/orders")
///     .on_lost(|lost| match lost {
///         Lost::Ended => println!("the server closed the stream"),
///         lost => println!("{lost}"),
///     })
///     .connect();
/// # drop(source);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// The server cannot be reached.
    #[error("cannot connect: {0}")]
    Unreachable(#[source] TransportError),
    /// The server rejects the request for now.
    #[error("the server rejects the request for now: {words}")]
    Refused {
        /// The detail of the server's problem document, or its status.
        words: String,
        /// The time of the `Retry-After` header.
        retry_after: Option<Duration>,
    },
    /// There is no token for the connection: see
    /// [`EventSourceOptions::bearer_from`](crate::EventSourceOptions::bearer_from).
    #[error("cannot get a token: {0}")]
    NoToken(#[source] TransportError),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[source] TransportError),
    /// The server ended the stream.
    #[error("the server ended the stream")]
    Ended,
    /// No byte arrived within [`EventSourceOptions::idle`](crate::EventSourceOptions::idle).
    #[error("no data arrived for {} s", .0.as_secs())]
    Idle(Duration),
}

/// The error that ended an event source.
///
/// ```no_run
/// use carafe_client::{Error, EventSource};
///
/// # async fn example() {
/// let mut events = EventSource::new("http://127.0.0.1:3000/events/orders");
/// while let Some(event) = events.next().await {
///     match event {
///         Ok(event) => println!("{}", event.data),
///         Err(Error::Refused { status: 401 | 403, words }) => println!("needs a token: {words}"),
///         Err(error) => println!("{error}"),
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL is invalid or is neither `http` nor `https`.
    #[error("cannot request {url}: {reason}; use a URL such as http://127.0.0.1:3000/events")]
    BadUrl {
        /// The URL.
        url: String,
        /// What is wrong with it.
        #[source]
        reason: TransportError,
    },
    /// The server rejects the request, and another attempt would not help.
    #[error("the server rejects the request ({status}): {words}")]
    Refused {
        /// The status of the response.
        status: u16,
        /// The detail of the server's problem document, or its status.
        words: String,
    },
    /// The response has another content type than `text/event-stream`.
    #[error("the response is not an event stream: check the URL")]
    NotAnEventStream,
    /// An event is larger than
    /// [`EventSourceOptions::event_bytes`](crate::EventSourceOptions::event_bytes).
    #[error(transparent)]
    TooLarge(#[from] EventTooLarge),
    /// The first connection failed, and
    /// [`EventSourceOptions::first_must_succeed`](crate::EventSourceOptions::first_must_succeed)
    /// was set.
    #[error(transparent)]
    Unreachable(Lost),
    /// The last event ID cannot be sent in a header, so the stream cannot be resumed.
    #[error("the last event ID has control characters, so the stream cannot be resumed")]
    UnsendableId,
    /// The token cannot be sent in a header.
    #[error("the token has control characters: use it as it was issued, on one line")]
    UnsendableToken,
}

/// A failure of the connection, a response that cannot be read, or a URL that cannot be parsed.
///
/// Its text is that of the innermost error, which a person can act on: `Connection refused`
/// instead of `error sending request`. [`source`](std::error::Error::source) is the error of the
/// HTTP client, if there is one. Two of these errors are equal if their texts are equal.
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
pub struct TransportError {
    text: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl TransportError {
    /// Keeps the error, and takes the text of its innermost source.
    pub(crate) fn of(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        let mut innermost: &dyn std::error::Error = &error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        Self { text: innermost.to_string(), source: Some(Arc::new(error)) }
    }
}

impl From<String> for TransportError {
    fn from(text: String) -> Self {
        Self { text, source: None }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for TransportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl PartialEq for TransportError {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for TransportError {}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::io;

    use super::*;

    #[test]
    fn a_lost_connection_has_the_text_and_the_source_of_its_cause() {
        let inner = io::Error::from(io::ErrorKind::ConnectionRefused);
        let text = inner.to_string();
        let lost = Lost::Unreachable(TransportError::of(inner));
        assert_eq!(lost.to_string(), format!("cannot connect: {text}"));
        let source = lost.source().and_then(|transport| transport.source()).unwrap();
        assert!(source.is::<io::Error>());
    }

    #[test]
    fn a_url_that_cannot_be_parsed_keeps_the_error_of_the_parser() {
        let (url, reason) = ("http://".to_owned(), crate::http::parse("http://").unwrap_err());
        let error = Error::BadUrl { url, reason };
        let reason = error.source().and_then(|reason| reason.source()).unwrap();
        assert!(error.to_string().contains(&reason.to_string()), "{error}");
    }
}
