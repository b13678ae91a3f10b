//! One attempt: a request, and what came of it.

use std::time::Duration;

use reqwest::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Response, StatusCode};

use crate::Error;
use crate::http::{cause, is_temporary, parse, retry_after, words};

/// Why there is no connection for now. The event source tries again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// The server cannot be reached.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// The server asks to come again later.
    #[error("the server refuses for now: {words}")]
    Refused {
        /// What it says.
        words: String,
        /// How long it wants us to wait.
        retry_after: Option<Duration>,
    },
    /// The connection broke off.
    #[error("the connection broke off: {0}")]
    Broken(String),
    /// The server ended the stream.
    #[error("the server ended the stream")]
    Ended,
    /// Nothing came for too long.
    #[error("nothing came for {} s", .0.as_secs())]
    Idle(Duration),
}

/// What came of a request.
pub(crate) enum Answer {
    /// The stream is open.
    Open(Response),
    /// The server wants no reconnection: 204.
    NoContent,
    /// Another attempt may succeed.
    Lost(Lost),
    /// No attempt will succeed.
    Fatal(Error),
}

pub(crate) async fn request(
    client: Client,
    url: String,
    headers: HeaderMap,
    time: Duration,
) -> Answer {
    let asked = match parse(&url) {
        Ok(asked) => asked,
        Err(reason) => return Answer::Fatal(Error::BadUrl { url, reason }),
    };
    let request =
        client.get(asked).header(ACCEPT, "text/event-stream").header(CACHE_CONTROL, "no-store");
    let request = request.headers(headers);
    match tokio::time::timeout(time, request.send()).await {
        Err(_) => Answer::Lost(Lost::Idle(time)),
        Ok(Err(error)) => Answer::Lost(Lost::Unreachable(cause(&error))),
        Ok(Ok(response)) => judge(response).await,
    }
}

async fn judge(response: Response) -> Answer {
    match response.status() {
        StatusCode::OK if is_event_stream(&response) => Answer::Open(response),
        StatusCode::OK => Answer::Fatal(Error::NotAnEventStream),
        StatusCode::NO_CONTENT => Answer::NoContent,
        status if is_temporary(status) => {
            let retry_after = retry_after(response.headers());
            Answer::Lost(Lost::Refused { words: words(response).await, retry_after })
        }
        status => {
            Answer::Fatal(Error::Refused { status: status.as_u16(), words: words(response).await })
        }
    }
}

fn is_event_stream(response: &Response) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("text/event-stream")
}
