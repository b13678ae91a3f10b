//! Which versions of HTTP a connection may use, and how hyper is set up for them.

use std::time::Duration;

use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto::Builder;

use crate::server::http2_frames::PREFACE;
use crate::server::options::ServerOptions;
use crate::server::stall::StreamExecutor;

/// Concurrent streams of one HTTP/2 connection. All tabs of a browser share a connection to an
/// origin, and requests over the limit wait silently, publishing included. hyper's 200 are too few
/// for streams that never end.
const STREAMS: u32 = 1000;

/// HTTP/2 receive windows: what a client may send before it is read, on one stream and on the whole
/// connection. The bytes are in memory outside of the body budget. So the windows are as small as
/// uploads over long round trips allow.
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;

/// Bytes of a response that may wait to be sent on one HTTP/2 stream.
const SEND_BUFFER: usize = 64 << 10;

/// The version of HTTP, as far as the first bytes of a client tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// ALPN says so.
    Http2,
    /// It may be HTTP/2: the bytes are a prefix of its preface, or ALPN says nothing.
    Unknown,
}

impl Protocol {
    pub(crate) fn of(first: &[u8]) -> Self {
        let begins = first.iter().zip(PREFACE).all(|(said, expected)| said == expected);
        if begins { Self::Unknown } else { Self::Http1 }
    }

    /// The version that was agreed on by ALPN, if one was.
    pub(crate) fn by_alpn(name: Option<&[u8]>) -> Self {
        match name {
            Some(b"http/1.1") => Self::Http1,
            Some(b"h2") => Self::Http2,
            _ => Self::Unknown,
        }
    }
}

/// hyper's settings for each case.
pub(crate) struct Builders {
    /// These do not detect the version, which would take an extra read.
    http1: Builder<StreamExecutor>,
    http2: Builder<StreamExecutor>,
    any: Builder<StreamExecutor>,
}

impl Builders {
    pub(crate) fn new(options: &ServerOptions) -> Self {
        let mut builder = Builder::new(StreamExecutor);
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(options.header_timeout)
            .max_buf_size(options.header_bytes.max(8192));
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(30))
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(options.header_bytes).unwrap_or(u32::MAX));
        let (http1, http2) = (builder.clone().http1_only(), builder.clone().http2_only());
        Self { http1, http2, any: builder }
    }

    pub(crate) fn of(&self, protocol: Protocol) -> &Builder<StreamExecutor> {
        match protocol {
            Protocol::Http1 => &self.http1,
            Protocol::Http2 => &self.http2,
            Protocol::Unknown => &self.any,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_possible_http_2_preface_is_read_further() {
        for (first, protocol) in [
            (&b"GET / HTTP/1.1\r\n"[..], Protocol::Http1),
            (b"POST / HTTP/1.1\r\n", Protocol::Http1),
            (b"PRI * HTTP/1.1\r\n", Protocol::Http1),
            (b"\r\n", Protocol::Http1),
            (b"P", Protocol::Unknown),
            (b"PRI * HTTP/2.0\r\n\r\nSM", Protocol::Unknown),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Protocol::Unknown),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04", Protocol::Unknown),
        ] {
            assert_eq!(Protocol::of(first), protocol, "{:?}", first.escape_ascii().to_string());
        }
    }
}
