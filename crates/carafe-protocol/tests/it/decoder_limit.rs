//! The decoder when an event is larger than the caller allows.

use carafe_protocol::{Decoder, EventTooLarge, Received};

use crate::any_split::decode;

/// The smallest limit that lets `stream` through, which must be `expected`, in every split.
#[track_caller]
fn check(stream: impl AsRef<[u8]>, expected: usize) {
    let stream = stream.as_ref();
    for cut in 0..=stream.len() {
        let refused = |limit| {
            let (first, second) = stream.split_at(cut);
            decode(
                &mut Decoder::new().with_last_event_id("a long seed").with_limit(limit),
                [first, second],
            )
            .refused
        };
        assert!(!refused(expected), "{expected} should do, cut at {cut}");
        assert!(
            expected == 0 || refused(expected - 1),
            "{expected} should be needed, cut at {cut}"
        );
    }
}

#[track_caller]
fn error(decoder: &mut Decoder, mut input: &[u8]) -> EventTooLarge {
    decoder.decode(&mut input).expect_err("the event is too large")
}

#[test]
fn a_line_counts_whole_but_for_its_break() {
    check("\n\r\n\r", 0);
    check("data: 4567\n", 10);
    check("data: 4567\r\n\r\n", 10);
    check("unknown: 9ab\n", 12);
    check(": comment\n", 9);
    check("unfinished", 10);
}

#[test]
fn what_the_earlier_lines_of_the_event_gave_counts() {
    check("data: 12345\ndata: 1\n\n", "12345\n".len() + "data: 1".len());
    check("id: 123456789\ndata: 1\n\n", "123456789".len() + "data: 1".len());
    check("event: 123456789\ndata: 1234\n\n", "123456789".len() + "data: 1234".len());
    check("data\ndata\ndata\ndata\ndata\n\n", "\n\n\n\n".len() + "data".len());
    check("id: 123456789\nid: 1\ndata: 1\n\n", "123456789".len() + "id: 1".len());
}

#[test]
fn events_and_comments_do_not_add_up() {
    check("data: 1\n\n".repeat(20), 7);
    check(": 1\n".repeat(20), 3);
    check("id: 123456789\n\ndata: 1\n\n", 13);
    check("event: 123\n\ndata: 1\n\n", 10);
}

#[test]
fn replaced_bytes_count_as_what_replaces_them() {
    check(b"data:\xFF\xFF\xFF\xFF\n\n", 4 * "\u{fffd}".len() + "\n".len());
}

#[test]
fn without_a_limit_nothing_is_too_large() {
    let stream = "data: a long line\n".repeat(100_000) + "\n";
    let decoded = decode(&mut Decoder::new(), [stream.as_bytes()]);
    assert_eq!((decoded.received.len(), decoded.refused), (1, false));
}

#[test]
fn a_line_is_rejected_before_its_end_has_arrived() {
    let mut decoder = Decoder::new().with_limit(10);
    assert_eq!(decoder.decode(&mut &b"data: "[..]), Ok(None));
    assert_eq!(error(&mut decoder, b"12345").limit, 10);
}

/// Reading on would commit ID 8, and a resumption after it would never bring 7.
#[test]
fn after_an_event_too_large_the_stream_is_refused_and_the_id_stays() {
    let mut decoder = Decoder::new().with_limit(12);
    let stream = b"id: 6\ndata: a\n\nid: 7\ndata: too long\n\nid: 8\ndata: b\n\n";
    let decoded = decode(&mut decoder, [&stream[..]]);
    assert!(decoded.refused);
    assert_eq!((decoded.received.len(), &*decoded.last_event_id), (1, "6"));
    for more in [&b""[..], b"\n\n", b"id: 8\ndata: b\n\n"] {
        error(&mut decoder, more);
        assert_eq!(decoder.last_event_id(), "6");
    }
}

#[test]
fn a_refused_stream_consumes_what_it_is_given() {
    let mut decoder = Decoder::new().with_limit(4);
    for _ in 0..2 {
        let mut input = &b"data: a\n\ndata: b\n\n"[..];
        assert!(decoder.decode(&mut input).is_err());
        assert_eq!(input, b"");
    }
}

#[test]
fn the_next_stream_is_read_again_under_the_same_limit() {
    let mut decoder = Decoder::new().with_limit(12).with_last_event_id("6");
    error(&mut decoder, b"id: 7\ndata: too long\n\n");
    decoder.next_stream();
    let decoded = decode(&mut decoder, [&b"data: b\n\n"[..]]);
    let Some(Received::Event(event)) = decoded.received.first() else {
        panic!("no event: {decoded:?}");
    };
    assert_eq!((&*event.data, &*event.last_event_id), ("b", "6"));
    error(&mut decoder, b"data: too long\n\n");
}
