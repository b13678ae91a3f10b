//! Parses the heads of responses.

use httparse::{EMPTY_HEADER, Header, Response, Status};

use crate::framing::Framing;

/// The parts of a response head that matter to a run.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The length of the head in bytes.
    pub(crate) length: usize,
    pub(crate) body: Body,
    pub(crate) closes: bool,
    pub(crate) is_event_stream: bool,
}

/// How the end of the body is found.
pub(crate) enum Body {
    Length(u64),
    Framed(Framing),
}

impl Answer {
    /// Parses a head; `None` if it is incomplete.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Self>, httparse::Error> {
        let mut headers = [EMPTY_HEADER; 64];
        let mut response = Response::new(&mut headers);
        let Status::Complete(length) = response.parse(bytes)? else {
            return Ok(None);
        };
        let status = response.code.unwrap_or_default();
        let has = |name: &str, value: &str| {
            header(response.headers, name).is_some_and(|it| contains(it, value))
        };
        Ok(Some(Self {
            status,
            length,
            body: body(status, response.headers),
            closes: has("connection", "close"),
            is_event_stream: has("content-type", "text/event-stream"),
        }))
    }
}

fn body(status: u16, headers: &[Header<'_>]) -> Body {
    if header(headers, "transfer-encoding").is_some_and(|value| contains(value, "chunked")) {
        return Body::Framed(Framing::chunked());
    }
    let length = header(headers, "content-length").and_then(|value| value.trim().parse().ok());
    match (status, length) {
        (204 | 304, _) => Body::Length(0),
        (_, Some(length)) => Body::Length(length),
        (_, None) => Body::Framed(Framing::Plain),
    }
}

fn header<'a>(headers: &[Header<'a>], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
    std::str::from_utf8(found.value).ok()
}

fn contains(value: &str, word: &str) -> bool {
    value.to_ascii_lowercase().contains(word)
}
