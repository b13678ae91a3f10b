//! One attempt to connect: it sends the request and sorts the response. It does not know whether
//! another attempt follows.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
};
use reqwest::{Client, Method, Response, StatusCode};

use crate::error::{Error, Lost};
use crate::http::{is_temporary, parse, retry_after, words};
use crate::redirect::Outgoing;
use crate::token::{NoToken, TokenFuture};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The outcome of a request.
pub(crate) enum Answer {
    /// The stream is open.
    Open(Response),
    /// The server asks for no further connection, by status 204.
    NoContent,
    /// Another attempt may succeed.
    Lost(Lost),
    /// The server refuses the token.
    Unauthorized(Error),
    /// No attempt will succeed.
    Fatal(Error),
}

/// A request for a stream.
pub(crate) struct Request {
    pub(crate) client: Client,
    pub(crate) url: String,
    pub(crate) method: Method,
    /// The headers of the program.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
    pub(crate) last_event_id: String,
    pub(crate) token: Option<TokenFuture>,
    /// The time for the token, name resolution, the handshakes and the response head.
    pub(crate) time: Duration,
}

impl Request {
    pub(crate) async fn answer(self) -> Answer {
        let time = self.time;
        match tokio::time::timeout(time, self.send()).await {
            Ok(Ok(answer) | Err(answer)) => answer,
            Err(_) => Answer::Lost(Lost::Silence(time)),
        }
    }

    async fn send(self) -> Result<Answer, Answer> {
        let headers = self.public_headers().map_err(Answer::Fatal)?;
        let url = parse(&self.url)
            .map_err(|reason| Answer::Fatal(Error::BadUrl { url: self.url.clone(), reason }))?;
        let mut private = self.headers;
        if let Some(token) = self.token {
            private.insert(AUTHORIZATION, token.await?);
        }
        let (method, body) = (self.method, self.body);
        // Each connection begins at this URL: a redirect may lead elsewhere the next time.
        let request = Outgoing { method, url, headers, private, body, may_become_get: true };
        match request.send(&self.client).await {
            Ok(response) => Ok(judge(response).await),
            Err(error) => Err(Answer::Lost(Lost::Unreachable(error.into()))),
        }
    }

    /// The headers that `EventSource` of a browser sends (WHATWG HTML, 9.2.2, and Fetch, 4.5, for
    /// its cache mode).
    fn public_headers(&self) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if !self.last_event_id.is_empty() {
            // UTF-8 as it is, as browsers send it. Resuming without an ID that cannot be sent would
            // skip events silently.
            let id = HeaderValue::from_bytes(self.last_event_id.as_bytes());
            headers.insert(LAST_EVENT_ID, id.map_err(|_| Error::UnsendableId)?);
        }
        Ok(headers)
    }
}

impl From<NoToken> for Answer {
    fn from(missing: NoToken) -> Self {
        match missing {
            NoToken::Failed(cause) => Self::Lost(Lost::NoToken(cause)),
            NoToken::Unsendable => Self::Fatal(Error::UnsendableToken),
        }
    }
}

async fn judge(response: Response) -> Answer {
    let status = response.status();
    match status {
        StatusCode::OK => match essence(&response).as_str() {
            "text/event-stream" => Answer::Open(response),
            // A captive portal, a proxy's maintenance page or a login page.
            "text/html" | "application/xhtml+xml" => Answer::Lost(Lost::Html),
            // 9.2.3 fails the connection for good here, too.
            _ => Answer::Fatal(Error::NotAnEventStream),
        },
        StatusCode::NO_CONTENT => Answer::NoContent,
        _ if is_temporary(status) => {
            let retry_after = retry_after(response.headers());
            let words = words(response).await;
            Answer::Lost(Lost::Refused { status: status.as_u16(), words, retry_after })
        }
        _ => {
            let refused = Error::Refused { status: status.as_u16(), words: words(response).await };
            match status {
                StatusCode::UNAUTHORIZED => Answer::Unauthorized(refused),
                _ => Answer::Fatal(refused),
            }
        }
    }
}

/// The content type without its parameters: an event stream is always UTF-8.
fn essence(response: &Response) -> String {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}
