//! HTTP helpers that reading and publishing share, and the certificates that they trust.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;

use crate::error::TransportError;

/// The time limit for a TCP and TLS handshake.
const CONNECT: Duration = Duration::from_secs(10);

/// The maximum number of bytes that are read of a rejection's body.
const WORDS: usize = 64 << 10;

/// The time limit for reading a rejection's body.
const WORDS_TIME: Duration = Duration::from_secs(5);

/// Trusts the root certificates of the operating system. They are read once, and all clients share
/// them. If there are none, as in an empty container, plain HTTP works, and HTTPS fails with an
/// unknown issuer.
static TLS: LazyLock<ClientConfig> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider and rustls have TLS versions in common")
        .with_root_certificates(roots)
        .with_no_client_auth()
});

pub(crate) fn client() -> Client {
    let client = Client::builder().connect_timeout(CONNECT).user_agent("carafe").tcp_nodelay(true);
    // No time limit for a whole request: a stream has none. Publishing sets its own.
    let client = client.tls_backend_preconfigured(TLS.clone()).build();
    client.expect("a client with constant settings can always be built")
}

/// Parses an HTTP or HTTPS URL. The error text says what is wrong with it.
pub(crate) fn parse(url: &str) -> Result<Url, TransportError> {
    let url = Url::parse(url).map_err(TransportError::of)?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => {
            let text = format!("the scheme {scheme} is not supported, only http and https are");
            Err(text.into())
        }
    }
}

/// The value of `Authorization` for this token. It is marked sensitive, so that no log shows it.
pub(crate) fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Whether a later attempt may succeed: the status does not say that the request is wrong.
pub(crate) fn is_temporary(status: StatusCode) -> bool {
    status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT
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

/// The seconds of `Retry-After`. The other form of the header, a date, is ignored.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get("retry-after")?.to_str().ok()?.parse().ok().map(Duration::from_secs)
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
