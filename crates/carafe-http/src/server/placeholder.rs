//! What hyper writes in place of an answer that is deferred: an empty response with a status that
//! no other answer has.

use axum::body::Body;
use http::{Response, StatusCode};

use crate::server::stall::WatchedBody;

/// Not assigned; hyper writes it like any other.
const STATUS: u16 = 299;

const BEGINNING: &[u8] = b"HTTP/1.1 299 ";

/// More than hyper writes.
const MOST: usize = 256;

/// The length of a date in HTTP (RFC 9110, 5.6.7).
const DATE: usize = 29;

pub(crate) type Date = [u8; DATE];

pub(crate) fn response() -> Response<WatchedBody> {
    let mut response = Response::new(WatchedBody::new(Body::empty(), None));
    *response.status_mut() = StatusCode::from_u16(STATUS).expect("299 is a status");
    response
}

/// The date in the placeholder; `None` if the bytes are anything else than one placeholder.
pub(crate) fn date<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Option<Date> {
    let (mut buffer, mut length) = ([0; MOST], 0);
    for part in parts {
        buffer.get_mut(length..)?.get_mut(..part.len())?.copy_from_slice(part);
        length += part.len();
    }
    let fields = str::from_utf8(&buffer[..length]).ok()?.strip_suffix("\r\n\r\n")?;
    let is_head = fields.as_bytes().starts_with(BEGINNING) && !fields.contains("\r\n\r\n");
    let date = fields.lines().find_map(|line| line.strip_prefix("date: "))?;
    if is_head { date.as_bytes().try_into().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = "HTTP/1.1 299 <none>\r\ncontent-length: 0\r\n\
                           date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";

    fn date_in(parts: &[&str]) -> Option<Date> {
        date(parts.iter().map(|part| part.as_bytes()))
    }

    #[test]
    fn one_placeholder_is_recognised_however_it_is_split() {
        let expected = Some(*b"Sun, 06 Nov 1994 08:49:37 GMT");
        for at in 0..=WRITTEN.len() {
            assert_eq!(date_in(&[&WRITTEN[..at], &WRITTEN[at..]]), expected);
        }
    }

    #[test]
    fn nothing_else_is_a_placeholder() {
        for at in 0..WRITTEN.len() {
            assert_eq!(date_in(&[&WRITTEN[..at]]), None, "{at}");
        }
        let long = format!("HTTP/1.1 299 <none>\r\nx: {}\r\n\r\n", "x".repeat(MOST));
        let cases = [
            &[WRITTEN, WRITTEN][..],
            &[WRITTEN, "x"],
            &["HTTP/1.1 100 Continue\r\n\r\n", WRITTEN],
            &[&long],
            &["HTTP/1.1 299 <none>\r\ncontent-length: 0\r\n\r\n"],
        ];
        for parts in cases {
            assert_eq!(date_in(parts), None, "{parts:?}");
        }
        assert_eq!(date_in(&[&WRITTEN.replace("299", "201")]), None);
    }
}
