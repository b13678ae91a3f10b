//! Headers that more than one answer has.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};

/// The newest position of the hub: a page takes a snapshot first and streams from there.
pub(crate) const POSITION: HeaderName = HeaderName::from_static("carafe-position");

/// After which event a stream goes on; in answers, as Mercure 0.x has it.
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// In answers, as Mercure 1.0 has it.
pub(crate) const MERCURE_LAST_EVENT_ID: HeaderName = HeaderName::from_static("mercure-last-event-id");

/// What keeps a stream from being stored by caches or held back by nginx.
pub(crate) fn stream_headers() -> [(HeaderName, HeaderValue); 3] {
    [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
}
