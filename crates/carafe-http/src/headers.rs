//! Headers that more than one answer has.

use http::HeaderName;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

/// The newest position of the hub: a page takes a snapshot first and streams from there.
pub(crate) const POSITION: HeaderName = HeaderName::from_static("carafe-position");

/// What keeps a stream from being stored by caches or held back by nginx.
pub(crate) fn stream_headers() -> [(HeaderName, &'static str); 3] {
    [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ]
}
