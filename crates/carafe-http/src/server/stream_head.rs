//! Checks the bytes that hyper wrote for an event stream before its socket is handed to a shard.
//!
//! A shard appends HTTP/1.1 chunks to what hyper has written. That is correct only if hyper wrote
//! the unmodified head of a 200 response with a chunked body, followed by exactly one chunk. A
//! layer of the app (compression, a changed status) makes the check fail; then hyper keeps the
//! stream. This module has no state and knows no socket.

/// Header fields that are parsed. A response with more fields stays with hyper.
const FIELDS: usize = 64;

/// Whether `written` is the head of a 200 response whose body is chunked and not encoded, and then
/// `opening` as its only chunk.
pub(crate) fn is_untouched_stream(written: &[u8], opening: &[u8]) -> bool {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(end)) = head.parse(written) else { return false };
    let has = |name: &str| head.headers.iter().any(|field| field.name.eq_ignore_ascii_case(name));
    let is_chunked = |field: &httparse::Header<'_>| {
        field.name.eq_ignore_ascii_case("transfer-encoding")
            && field.value.eq_ignore_ascii_case(b"chunked")
    };
    (head.version, head.code) == (Some(1), Some(200))
        && head.headers.iter().any(is_chunked)
        && !has("content-encoding")
        && !has("content-length")
        && is_one_chunk(&written[end..], opening)
}

/// Whether `body` is one HTTP chunk (RFC 9112, 7.1) with these bytes, without extensions.
fn is_one_chunk(body: &[u8], chunk: &[u8]) -> bool {
    // hyper writes the size in capitals and without leading zeros.
    let size = format!("{:X}\r\n", chunk.len());
    let rest = body.strip_prefix(size.as_bytes()).and_then(|body| body.strip_suffix(b"\r\n"));
    rest == Some(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(written: &str, is: bool) {
        assert_eq!(is_untouched_stream(written.as_bytes(), b"opening one"), is, "{written:?}");
    }

    #[test]
    fn only_an_unchanged_stream_that_has_sent_just_its_opening_gives_the_socket_away() {
        const HEAD: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n";
        const CHUNK: &str = "B\r\nopening one\r\n";
        check(&format!("{HEAD}date: now\r\n\r\n{CHUNK}"), true);
        check(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding:Chunked\r\n\r\n{CHUNK}"), true);
        check("", false);
        check(HEAD, false);
        check(&format!("{HEAD}\r\n"), false);
        check(&format!("{HEAD}\r\n{}", &CHUNK[..CHUNK.len() - 1]), false);
        check(&format!("{HEAD}\r\n{CHUNK}3\r\nabc\r\n"), false);
        check(&format!("{HEAD}\r\nB\r\nopening two\r\n"), false);
        check(&format!("{HEAD}\r\n4\r\nopen\r\n7\r\ning one\r\n"), false);
        check(&format!("HTTP/1.1 206 Partial\r\ntransfer-encoding: chunked\r\n\r\n{CHUNK}"), false);
        check(&format!("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{CHUNK}"), false);
        check(
            &format!("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n{CHUNK}"),
            false,
        );
        check(&format!("{HEAD}content-encoding: br\r\n\r\n{CHUNK}"), false);
        check("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nopening one", false);
        check(&format!("HTTP/1.1 100 Continue\r\n\r\n{HEAD}\r\n{CHUNK}"), false);
    }
}
