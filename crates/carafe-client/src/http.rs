//! What reading and publishing share of HTTP.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;

use crate::tls;

const CONNECT: Duration = Duration::from_secs(10);

/// The most of a refusal's body that is read for its words.
const WORDS: usize = 64 << 10;

/// How long a refusal's body may take.
const WORDS_TIME: Duration = Duration::from_secs(5);

pub(crate) fn client() -> Client {
    let client = Client::builder().connect_timeout(CONNECT).user_agent("carafe").tcp_nodelay(true);
    let client = client.tls_backend_preconfigured(tls::CONFIG.clone()).build();
    client.expect("a client with constant settings can always be built")
}

/// The URL, if it is one that can be asked; else what is wrong with it.
pub(crate) fn parse(url: &str) -> Result<Url, String> {
    let url = Url::parse(url).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(format!("{scheme} is not spoken here, only http and https are")),
    }
}

/// The value of `Authorization` with this token, which no log is to show.
pub(crate) fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The innermost cause, which is what a person can act on: `Connection refused`, not `error sending
/// request`.
pub(crate) fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Whether the server asks to come again: then nothing is wrong with the request.
pub(crate) fn is_temporary(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
}

/// The seconds of `Retry-After`; its other form, a date, is for people.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get("retry-after")?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}

#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// What a refusal says: the detail of its problem document, else its status.
pub(crate) async fn words(response: Response) -> String {
    let status = response.status();
    let read = tokio::time::timeout(WORDS_TIME, read_some(response)).await;
    let problem = read.ok().and_then(|body| serde_json::from_slice::<Problem>(&body).ok());
    problem.map_or_else(|| status.to_string(), |problem| problem.detail)
}

async fn read_some(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < WORDS
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    body
}
