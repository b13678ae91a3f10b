//! Headers that more than one answer has.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};
use http_body::Frame;

/// The newest position of the hub: a page takes a snapshot first and streams from there.
pub(crate) const POSITION: HeaderName = HeaderName::from_static("carafe-position");

/// After which event a stream goes on; in answers, as Mercure 0.x has it.
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// In answers, as Mercure 1.0 has it.
pub(crate) const MERCURE_LAST_EVENT_ID: HeaderName =
    HeaderName::from_static("mercure-last-event-id");

/// What keeps a stream from being stored by caches or held back by nginx.
pub(crate) fn stream_headers() -> [(HeaderName, HeaderValue); 3] {
    [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
}

/// The answer to `HEAD` where `GET` would be a stream: without a `Content-Length`, which a stream
/// does not have.
pub(crate) fn head_of_a_stream() -> Response {
    (stream_headers(), Body::new(OfAnyLength)).into_response()
}

/// An empty body that does not tell its length beforehand.
pub(crate) struct OfAnyLength;

impl http_body::Body for OfAnyLength {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}
