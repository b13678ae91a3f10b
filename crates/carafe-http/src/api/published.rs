//! The answer to a publication that was stored.

use std::io::Write;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use carafe_log::Appended;
use carafe_protocol::Position;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};

/// The most bytes of the answer to an event.
const ANSWER: usize = 64;

/// Capacity for the headers of an answer. Growing would move them.
const HEADERS: usize = 12;

/// The answer with the position of an entry.
pub(crate) fn published(appended: Appended) -> Response {
    let status = if appended.repeated { StatusCode::OK } else { StatusCode::CREATED };
    with_position(status, appended.position)
}

/// An answer with a position.
pub(crate) fn with_position(status: StatusCode, position: Position) -> Response {
    let mut buffer = [0; ANSWER];
    let mut rest = &mut buffer[..];
    // A position needs no escaping in JSON.
    write!(rest, "{{\"id\":\"{position}\"}}").expect("a position has 46 bytes at most");
    let length = ANSWER - rest.len();
    let mut response = Response::new(Body::from(Bytes::copy_from_slice(&buffer[..length])));
    *response.status_mut() = status;
    response.headers_mut().reserve(HEADERS);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
