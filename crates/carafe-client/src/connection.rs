//! One attempt to connect: it sends the request and sorts the response. It does not know whether
//! another attempt follows.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Response, StatusCode};

use crate::error::{Error, Lost, TransportError};
use crate::http::{is_temporary, parse, retry_after, words};
use crate::token::{NoToken, TokenFuture};

/// The outcome of a request.
pub(crate) enum Answer {
    /// The stream is open.
    Open(Response),
    /// The server asks for no further connection, by status 204.
    NoContent,
    /// Another attempt may succeed.
    Lost(Lost),
    /// No attempt will succeed.
    Fatal(Error),
}

/// Requests the stream, with a token if there is one to fetch.
pub(crate) async fn request(
    client: Client,
    url: String,
    headers: HeaderMap,
    token: Option<TokenFuture>,
    time: Duration,
) -> Answer {
    let sent = async {
        let headers = authorized(headers, token).await?;
        Ok(send(client, url, headers).await)
    };
    // Covers the token, name resolution, the handshakes and the response head.
    match tokio::time::timeout(time, sent).await {
        Err(_) => Answer::Lost(Lost::Idle(time)),
        Ok(Ok(answer)) => answer,
        Ok(Err(NoToken::Failed(error))) => Answer::Lost(Lost::NoToken(error)),
        Ok(Err(NoToken::Unsendable)) => Answer::Fatal(Error::UnsendableToken),
    }
}

async fn authorized(
    mut headers: HeaderMap,
    token: Option<TokenFuture>,
) -> Result<HeaderMap, NoToken> {
    if let Some(token) = token {
        headers.insert(AUTHORIZATION, token.await?);
    }
    Ok(headers)
}

async fn send(client: Client, url: String, headers: HeaderMap) -> Answer {
    let parsed = match parse(&url) {
        Ok(parsed) => parsed,
        Err(reason) => return Answer::Fatal(Error::BadUrl { url, reason }),
    };
    let request =
        // The headers that `EventSource` of a browser sends (WHATWG HTML, 9.2.2).
        client.get(parsed).header(ACCEPT, "text/event-stream").header(CACHE_CONTROL, "no-store");
    let request = request.headers(headers);
    match request.send().await {
        Err(error) => Answer::Lost(Lost::Unreachable(TransportError::of(error))),
        Ok(response) => judge(response).await,
    }
}

async fn judge(response: Response) -> Answer {
    match response.status() {
        StatusCode::OK if is_event_stream(&response) => Answer::Open(response),
        // 9.2.3 fails the connection for good here, too.
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
    // Parameters such as `charset` are ignored: an event stream is always UTF-8.
    let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("text/event-stream")
}
