//! HTTP helpers that reading and publishing share.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::header::{DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;

use crate::cause::Cause;
use crate::http_date;

/// The maximum number of bytes that are read of a rejection's body.
const WORDS: usize = 64 << 10;

/// The time limit for reading a rejection's body.
const WORDS_TIME: Duration = Duration::from_secs(5);

/// The maximum number of bytes of a response that is kept whole: more than a hub answers to the
/// largest batch.
const CONTENT: usize = 64 << 20;

/// The longest `Retry-After` that counts: a mistake in the configuration of a proxy must not stop a
/// program for ever.
const LONGEST_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Parses an HTTP or HTTPS URL. The error text says what is wrong with it.
pub(crate) fn parse(url: &str) -> Result<Url, Cause> {
    let url = Url::parse(url).map_err(Cause::of)?;
    check_scheme(&url).map(|()| url)
}

pub(crate) fn check_scheme(url: &Url) -> Result<(), Cause> {
    match url.scheme() {
        "http" | "https" => Ok(()),
        scheme => {
            let text = format!("the scheme {scheme} is not supported, only http and https are");
            Err(text.into())
        }
    }
}

/// The value of `Authorization` for this token, of which a file may end with a line break. It is
/// marked sensitive, so that no log shows it.
pub(crate) fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.trim())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Whether a later attempt may succeed: the status does not say that the request is wrong.
pub(crate) fn is_temporary(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY
        )
}

/// Whether the connection failed because the server's certificate is not trusted, or because the
/// server does not speak TLS: another attempt would fail, too.
pub(crate) fn is_untrusted(error: &reqwest::Error) -> bool {
    use rustls::Error::{InvalidCertificate, InvalidMessage};
    matches!(tls_error(error), Some(InvalidCertificate(_) | InvalidMessage(_)))
}

fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    // The source of an I/O error is that of the error in it, so that one would be skipped.
    let inner = error.downcast_ref().and_then(std::io::Error::get_ref);
    error
        .downcast_ref()
        .or_else(|| inner.and_then(|inner| tls_error(inner)))
        .or_else(|| error.source().and_then(tls_error))
}

/// The time of `Retry-After`: seconds, or until a date (RFC 9110, 10.2.3). A day at most.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    requested_wait(headers).map(|time| time.min(LONGEST_AFTER))
}

fn requested_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &HeaderName| headers.get(name)?.to_str().ok();
    let after = text(&RETRY_AFTER)?;
    if let Ok(seconds) = after.parse() {
        return Some(Duration::from_secs(seconds));
    }
    // By the clock of the server, which wrote the date: that of this machine may be wrong.
    let now = text(&DATE).and_then(http_date::parse).unwrap_or_else(SystemTime::now);
    Some(http_date::parse(after)?.duration_since(now).unwrap_or_default())
}

/// Reads the body of a response that is kept whole.
pub(crate) async fn content(mut response: Response) -> Result<Bytes, Cause> {
    let too_large = || Cause::from(format!("the response has more than {} MiB", CONTENT >> 20));
    if response.content_length().is_some_and(|length| length > CONTENT as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Cause::of)? {
        if body.len() + chunk.len() > CONTENT {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

#[derive(Deserialize)]
struct Problem {
    detail: String,
}

/// The text of a rejection: the detail of its problem document, or its status if it has none.
pub(crate) async fn words(response: Response) -> String {
    let status = response.status();
    let read = tokio::time::timeout(WORDS_TIME, read_some(response)).await;
    let problem = read.ok().and_then(|body| serde_json::from_slice::<Problem>(&body).ok());
    problem.map_or_else(|| status.to_string(), |problem| problem.detail)
}

async fn read_some(mut response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    // May exceed the limit by one chunk, which is bounded by the buffers of the connection.
    while body.len() < WORDS
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_retry_after(lines: &[(HeaderName, &str)], expected: Option<u64>) {
        let headers =
            lines.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{lines:?}");
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_by_the_clock_of_the_server() {
        let (now, later) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:50:07 GMT");
        check_retry_after(&[(RETRY_AFTER, "120")], Some(120));
        check_retry_after(&[(RETRY_AFTER, later), (DATE, now)], Some(30));
        check_retry_after(&[(RETRY_AFTER, now), (DATE, later)], Some(0));
        check_retry_after(&[(RETRY_AFTER, later)], Some(0));
        check_retry_after(&[(RETRY_AFTER, "soon"), (DATE, now)], None);
        check_retry_after(&[], None);
    }

    #[test]
    fn retry_after_is_a_day_at_most() {
        let (now, next_year) = ("Sun, 06 Nov 1994 08:49:37 GMT", "Mon, 06 Nov 1995 08:49:37 GMT");
        check_retry_after(&[(RETRY_AFTER, "86399")], Some(86_399));
        check_retry_after(&[(RETRY_AFTER, "18446744073709551615")], Some(86_400));
        check_retry_after(&[(RETRY_AFTER, next_year), (DATE, now)], Some(86_400));
    }
}
