//! Headers that several endpoints read or send.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;

/// The newest position of the hub. A page fetches a snapshot and subscribes from this position.
pub(crate) const POSITION: HeaderName = HeaderName::from_static("carafe-position");

/// The position of the newest event of a topic.
pub(crate) const LAST_POSITION: HeaderName = HeaderName::from_static("carafe-last-position");

/// The newest idempotency key of a topic. Bytes that a header cannot have as they are, spaces and
/// `%` are percent-encoded.
pub(crate) const LAST_KEY: HeaderName = HeaderName::from_static("carafe-last-key");

/// The ID of the event after which a stream resumes. Mercure 0.x uses it in responses, too.
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The same in responses of Mercure 1.0.
pub(crate) const MERCURE_LAST_EVENT_ID: HeaderName =
    HeaderName::from_static("mercure-last-event-id");

/// For responses that are not pages: should a browser show one as a page, it loads and runs
/// nothing.
const NO_PAGE: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// Keeps pages of other sites from embedding responses. CORS decides what they may fetch.
const OWN_PAGES: (HeaderName, HeaderValue) = (
    HeaderName::from_static("cross-origin-resource-policy"),
    HeaderValue::from_static("same-origin"),
);

/// The headers of an event stream. Caches must not store it, proxies must not compress it, since
/// they would hold events back, and nginx must not buffer it.
pub(crate) fn stream_headers() -> [(HeaderName, HeaderValue); 3] {
    [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store, no-transform"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
}

/// The response to `HEAD` where `GET` is a stream. It has no `Content-Length`, as a stream has
/// none.
pub(crate) fn head_of_a_stream() -> Response {
    (stream_headers(), Body::new(OfUnknownLength)).into_response()
}

/// An empty body of unknown length.
pub(crate) struct OfUnknownLength;

impl http_body::Body for OfUnknownLength {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}

/// The only value of a request header as text: `Some(None)` if it is not text, or there are
/// several.
pub(crate) fn only_value<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    Some(first.to_str().ok().filter(|_| values.next().is_none()))
}

/// Sets the headers that limit what browsers and caches do with a response.
pub(crate) fn secure(headers: &mut HeaderMap) {
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(NO_PAGE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let (name, value) = OWN_PAGES;
    headers.insert(name, value);
    // The CORS headers depend on the origin: a cache must not serve them to another origin.
    headers.append(VARY, HeaderValue::from_static("origin"));
}
