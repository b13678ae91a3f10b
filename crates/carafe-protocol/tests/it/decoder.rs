//! The decoder against byte streams whose meaning was read off the standard by hand.

use std::time::Duration;

use carafe_protocol::{Decoder, Received, ReceivedEvent};
use proptest::prelude::*;

use crate::any_split::{decode, decoder_follows_the_standard};
use crate::round_trip::fixed_seed;

fn message(data: &str) -> Received {
    event("message", data, "")
}

fn event(event_type: &str, data: &str, last_event_id: &str) -> Received {
    Received::Event(ReceivedEvent {
        event_type: event_type.to_owned(),
        data: data.to_owned(),
        last_event_id: last_event_id.to_owned(),
    })
}

fn comment(text: &str) -> Received {
    Received::Comment(text.to_owned())
}

fn retry(milliseconds: u64) -> Received {
    Received::Retry(Duration::from_millis(milliseconds))
}

/// Feeds `stream` whole, byte by byte, and in every way to cut it in two or three.
#[track_caller]
fn check(stream: impl AsRef<[u8]>, expected: &[Received]) {
    let stream = stream.as_ref();
    let bytes = decode(&mut Decoder::new(), stream.chunks(1));
    assert_eq!(bytes.received, expected, "byte by byte: {stream:?}");
    for second in 0..=stream.len() {
        for first in 0..=second {
            let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
            let decoded = decode(&mut Decoder::new(), pieces);
            assert_eq!(decoded.received, expected, "{pieces:?}");
        }
    }
    decoder_follows_the_standard(stream);
}

#[track_caller]
fn check_last_event_id(stream: &str, expected: &str) {
    let mut decoder = Decoder::new().with_last_event_id("seed");
    decode(&mut decoder, [stream.as_bytes()]);
    assert_eq!(decoder.last_event_id(), expected, "{stream:?}");
    decoder_follows_the_standard(stream.as_bytes());
}

#[test]
fn the_tutorials_stream_counts() {
    check("retry: 10000\n\ndata: 1\n\ndata: 2\n\n", &[retry(10_000), message("1"), message("2")]);
}

#[test]
fn every_line_break_of_the_standard_ends_a_line() {
    for line_break in ["\n", "\r", "\r\n"] {
        let stream = "data: a,data: b,,data: c,,".replace(',', line_break);
        check(stream, &[message("a\nb"), message("c")]);
    }
    check("data: a\r\ndata: b\rdata: c\n\r\ndata: d\r\r\n", &[message("a\nb\nc"), message("d")]);
}

#[test]
fn a_crlf_is_one_line_break_and_an_lf_cr_is_two() {
    check("data: a\r\n\r\n", &[message("a")]);
    check("data: a\r\ndata: b\r\r", &[message("a\nb")]);
    check("data: a\n\rdata: b\n\r", &[message("a"), message("b")]);
    check("data: a\r\n\ndata: b\r\n\n", &[message("a"), message("b")]);
    check("data: a\r\r\ndata: b\n\n", &[message("a"), message("b")]);
}

#[test]
fn a_cr_at_the_end_of_a_chunk_ends_the_line_at_once() {
    let mut decoder = Decoder::new();
    let mut feed = |chunk: &str| decode(&mut decoder, [chunk.as_bytes()]).received;
    assert_eq!(feed("data: a\r\r"), [message("a")]);
    assert_eq!(feed("\n"), []);
    assert_eq!(feed("data: b\r"), []);
    assert_eq!(feed("\n"), []);
    assert_eq!(feed("\r"), [message("b")]);
    assert_eq!(feed(""), []);
    assert_eq!(feed("\nretry: 1\r"), [retry(1)]);
}

#[test]
fn each_call_consumes_up_to_the_end_of_what_it_yields() {
    let mut decoder = Decoder::new();
    let mut input = &b": c\nretry: 1\ndata: a\r\n\r\n\ndata: b"[..];
    let steps = [
        (Some(comment("c")), "retry: 1\ndata: a\r\n\r\n\ndata: b"),
        (Some(retry(1)), "data: a\r\n\r\n\ndata: b"),
        (Some(message("a")), "\n\ndata: b"),
        (None, ""),
        (None, ""),
    ];
    for (expected, rest) in steps {
        assert_eq!(decoder.decode(&mut input).unwrap(), expected);
        assert_eq!(input, rest.as_bytes());
    }
}

#[test]
fn line_breaks_of_other_standards_are_data() {
    let data = "a\u{2028}b\u{2029}c\u{85}d\u{b}e\u{c}f\0g";
    check(format!("data: {data}\n\n"), &[message(data)]);
}

#[test]
fn one_byte_order_mark_is_removed_at_the_very_start_only() {
    check("\u{feff}data: a\n\n", &[message("a")]);
    check("\u{feff}\ndata: a\n\n", &[message("a")]);
    check("\u{feff}:\n", &[comment("")]);
    check("\u{feff}", &[]);
    check("\u{feff}\u{feff}data: a\n\n", &[]);
    check("\n\u{feff}data: a\n\n", &[]);
    check("data: \u{feff}a\n\n", &[message("\u{feff}a")]);
    check("data: a\n\u{feff}\n\n", &[message("a")]);
}

#[test]
fn a_part_of_a_byte_order_mark_is_not_one() {
    check(b"\xEF\xBBdata: a\n\ndata: b\n\n", &[message("b")]);
    check(b"\xEF\n\xBB\n\xBFdata: a\n\n", &[]);
    check(b"\xEF\xBB\n\ndata: b\n\n", &[message("b")]);
}

#[test]
fn exactly_one_space_after_the_colon_is_removed() {
    check("data:a\ndata: a\ndata:  a\ndata:\ta\ndata : a\n\n", &[message("a\na\n a\n\ta")]);
    check("data: \ndata:  \n\n", &[message("\n ")]);
    check("data:\u{a0}a\n\n", &[message("\u{a0}a")]);
}

#[test]
fn only_the_first_colon_ends_the_name() {
    check("data: a: b\ndata::c\n\n", &[message("a: b\n:c")]);
}

#[test]
fn a_line_without_a_colon_is_a_name_without_a_value() {
    check("data\n\n", &[message("")]);
    check("data\ndata\n\n", &[message("\n")]);
    check("event: a\nevent\ndata\n\n", &[message("")]);
    check("id: 7\ndata\n\nid\ndata\n\n", &[event("message", "", "7"), message("")]);
    check("retry\n", &[]);
}

#[test]
fn unknown_names_are_ignored_and_known_ones_are_exact() {
    check("Data: a\ndata : b\n data: c\ndatum: d\ndat: e\ndataa: f\nfoo\n\n", &[]);
    check("foo: a\ndata: b\nEVENT: c\nID: d\nRetry: 5\n\n", &[message("b")]);
}

#[test]
fn a_comment_is_yielded_at_its_line_and_ends_no_block() {
    check(":\n", &[comment("")]);
    check(":a\n: b\n:  c\n:: d\n", &[comment("a"), comment("b"), comment(" c"), comment(": d")]);
    check("data: a\n: between\ndata: b\n\n", &[comment("between"), message("a\nb")]);
    check(": data: a\n\n", &[comment("data: a")]);
}

#[test]
fn one_empty_data_line_is_an_event_with_an_empty_text() {
    check("data:\n\n", &[message("")]);
    check("data\n\n", &[message("")]);
    check("id: 7\nevent: carafe.position\ndata:\n\n", &[event("carafe.position", "", "7")]);
    check("data:\ndata:\n\n", &[message("\n")]);
}

#[test]
fn a_block_without_data_is_no_event_but_its_id_counts() {
    check("event: a\n\n", &[]);
    check("id: 7\n\ndata: a\n\n", &[event("message", "a", "7")]);
    check("\n\n\n", &[]);
    check_last_event_id("id: 7\n\n", "7");
    check_last_event_id("id: 7\nevent: a\n\nid: 8\n", "7");
}

#[test]
fn the_type_holds_for_its_block_only() {
    check("event: a\n\ndata: b\n\n", &[message("b")]);
    check("event: a\ndata: b\n\ndata: c\n\n", &[event("a", "b", ""), message("c")]);
    check("event: a\nevent: b\ndata: c\n\n", &[event("b", "c", "")]);
    check("event:\ndata: a\n\n", &[message("a")]);
    check("data: c\nevent:  a \n\n", &[event(" a ", "c", "")]);
}

#[test]
fn the_id_holds_until_another_arrives() {
    check(
        "id: 7\ndata: a\n\ndata: b\n\n",
        &[event("message", "a", "7"), event("message", "b", "7")],
    );
    check("data: a\nid: 7\nid: 8\n\n", &[event("message", "a", "8")]);
    check_last_event_id("data: a\n\n", "seed");
    check_last_event_id("id: 7\n\ndata: a\n\n", "7");
}

#[test]
fn an_empty_id_clears_the_last_event_id() {
    check("id: 7\ndata: a\n\nid:\ndata: b\n\n", &[event("message", "a", "7"), message("b")]);
    check_last_event_id("id\n\n", "");
    check_last_event_id("id: \n\n", "");
}

#[test]
fn an_id_with_nul_is_ignored() {
    check("id: 7\nid: 8\0\ndata: a\n\n", &[event("message", "a", "7")]);
    check_last_event_id("id: \0\ndata: a\n\n", "seed");
    check("id: 7\\0\ndata: \0\n\n", &[event("message", "\0", "7\\0")]);
}

#[test]
fn the_id_is_committed_at_the_blank_line_and_not_before() {
    check_last_event_id("id: 7", "seed");
    check_last_event_id("id: 7\n", "seed");
    check_last_event_id("id: 7\ndata: a\n", "seed");
    check_last_event_id("id: 7\r\r", "7");
}

#[test]
fn retry_takes_ascii_digits_only() {
    check("retry: 5\n", &[retry(5)]);
    check("retry:0\n", &[retry(0)]);
    check("retry: 007\n", &[retry(7)]);
    for bad in
        ["", " ", "-1", "+1", "1.5", "1e3", " 5", "5 ", "5s", "0x5", "٣", "５", "5\0", "1_000"]
    {
        check(format!("retry: {bad}\ndata: a\n\n"), &[message("a")]);
    }
    check(b"retry: 5\xFF\n", &[]);
}

#[test]
fn a_retry_too_long_to_count_is_the_longest_that_counts() {
    check("retry: 18446744073709551615\n", &[retry(u64::MAX)]);
    check("retry: 18446744073709551616\n", &[retry(u64::MAX)]);
    check(format!("retry: {}\n", "9".repeat(60)), &[retry(u64::MAX)]);
    check(format!("retry: {}5\n", "0".repeat(60)), &[retry(5)]);
}

#[test]
fn an_unfinished_event_is_dropped_with_its_id() {
    for stream in [
        "data: a",
        "data: a\n",
        "id: 7\ndata: a\n",
        "data: a\nid: 7",
        "data: a\r\n",
        "retry: 5",
        ": c",
    ] {
        check(stream, &[]);
        check_last_event_id(stream, "seed");
    }
}

#[test]
fn the_next_stream_starts_afresh_but_for_the_last_event_id() {
    let mut decoder = Decoder::new();
    for (stream, data) in [
        ("id: 7\ndata: a\n\nid: 8\nevent: b\ndata: c\nda", "a"),
        ("\u{feff}data: d\r\r", "d"),
        ("\ndata: e\n\n", "e"),
    ] {
        let decoded = decode(&mut decoder, [stream.as_bytes()]);
        assert_eq!(decoded.received, [event("message", data, "7")]);
        decoder.next_stream();
    }
}

/// As many U+FFFD as the Encoding standard's decoder gives: one for each maximal part of a
/// sequence.
#[test]
fn invalid_utf8_is_replaced_as_in_the_whole_stream() {
    let cases: [(&[u8], &str); 10] = [
        (b"a\xFFb", "a\u{fffd}b"),
        (b"\x80\x80", "\u{fffd}\u{fffd}"),
        (b"\xC0\x80", "\u{fffd}\u{fffd}"),
        (b"\xE2\x82", "\u{fffd}"),
        (b"\xE2\x82a", "\u{fffd}a"),
        (b"\xF0\x9F\x98", "\u{fffd}"),
        (b"\xED\xA0\x80", "\u{fffd}\u{fffd}\u{fffd}"),
        (b"\xF4\x90\x80\x80", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
        (b"\xF0\x9F\x98\x80", "\u{1f600}"),
        (b"\xE2:\x82", "\u{fffd}:\u{fffd}"),
    ];
    for (bytes, expected) in cases {
        check([b"data: ", bytes, b"\n\n"].concat(), &[message(expected)]);
        check([b"event:", bytes, b"\rdata\r\r"].concat(), &[event(expected, "", "")]);
        check([b"id:", bytes, b"\r\ndata\r\n\r\n"].concat(), &[event("message", "", expected)]);
        check([b":", bytes, b"\n"].concat(), &[comment(expected)]);
    }
}

#[test]
fn a_sequence_cut_off_by_a_line_break_does_not_swallow_it() {
    check(b"data: \xE2\ndata: \x82\xAC\n\n", &[message("\u{fffd}\n\u{fffd}\u{fffd}")]);
    check(b"data\xE2: a\n\xE2data: b\ndata: c\n\n", &[message("c")]);
}

/// If each piece made the decoder read its line again, this would take minutes.
#[test]
fn a_long_line_byte_by_byte_is_read_once() {
    let data = "x".repeat(4 << 20);
    let stream = format!("data: {data}\n\n");
    let decoded = decode(&mut Decoder::new(), stream.as_bytes().chunks(1));
    assert!(decoded.received == [message(&data)], "the event came out altered");
}

fn stream_of_odd_parts() -> impl Strategy<Value = Vec<u8>> {
    let parts = b"\n|\r|\r\n|\n\n|:| |data|data: a|event|event: b|id|id: 7|retry|retry: 5|9|foo|\
        \0|\xEF\xBB\xBF|\xEF\xBB|\xE2\x82|\xAC|\xF0\x9F\x98\x80|\xFF";
    let parts: Vec<&[u8]> = parts.split(|byte| *byte == b'|').collect();
    prop::collection::vec(prop::sample::select(parts), 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(fixed_seed(512))]

    #[test]
    fn odd_streams_decode_by_the_standard_in_every_split(stream in stream_of_odd_parts()) {
        decoder_follows_the_standard(&stream);
    }

    #[test]
    fn arbitrary_bytes_decode_by_the_standard_in_every_split(stream in prop::collection::vec(any::<u8>(), 0..200)) {
        decoder_follows_the_standard(&stream);
    }
}
