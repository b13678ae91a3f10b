//! The errors of reading a stream, and the failures of one connection that lead to another.

use std::time::Duration;

use carafe_protocol::EventTooLarge;

use crate::cause::Cause;

/// The reason why one connection cannot be made or has ended. The event source connects again.
///
/// ```
/// use carafe_client::{EventSource, Lost, State};
///
/// let source = EventSource::options("http://127.0.0.1:3000/events/orders")
///     .on_state(|state| match state {
///         State::Waiting { reason: Lost::Closed, .. } => println!("the server closed the stream"),
///         State::Waiting { reason, .. } => println!("{reason}"),
///         _ => {}
///     })
///     .connect();
/// # drop(source);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// The server cannot be reached.
    #[error("cannot connect: {0}")]
    Unreachable(#[source] Cause),
    /// The server rejects the request for now: 408, 425, 429 or 5xx.
    #[error("the server rejects the request for now: {words}")]
    Refused {
        /// The status of the response.
        status: u16,
        /// The detail of the server's problem document, or its status.
        words: String,
        /// The time of the `Retry-After` header.
        retry_after: Option<Duration>,
    },
    /// The response is a web page, such as of a login or of a proxy. It goes away after a while.
    #[error("the response is a web page instead of an event stream")]
    Html,
    /// There is no token for the connection: see
    /// [`EventSourceOptions::bearer_from`](crate::EventSourceOptions::bearer_from).
    #[error("cannot get a token: {0}")]
    NoToken(#[source] Cause),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[source] Cause),
    /// The server ended the stream.
    #[error("the server ended the stream")]
    Closed,
    /// No byte arrived within [`EventSourceOptions::silence`](crate::EventSourceOptions::silence).
    #[error("no data arrived for {} s", .0.as_secs_f32())]
    Silence(Duration),
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
        reason: Cause,
    },
    /// The server rejects the request, and another attempt would not help.
    #[error("the server rejects the request ({status}): {words}")]
    Refused {
        /// The status of the response.
        status: u16,
        /// The detail of the server's problem document, or its status.
        words: String,
    },
    /// The response has another content type than `text/event-stream`, and is no web page.
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
    /// This header, as [`EventSourceOptions::header`](crate::EventSourceOptions::header) has set
    /// it, cannot be sent.
    #[error("the header {0:?} cannot be sent: check the characters of its name and its value")]
    UnsendableHeader(String),
    /// The position cannot be loaded from the [`Store`](crate::Store), or saved in it.
    #[error("cannot keep the position: {0}")]
    Store(#[source] Cause),
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::io;

    use super::*;

    #[test]
    fn a_lost_connection_has_the_text_and_the_source_of_its_cause() {
        let inner = io::Error::from(io::ErrorKind::ConnectionRefused);
        let text = inner.to_string();
        let lost = Lost::Unreachable(Cause::of(inner));
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
