//! 0.x: subscribing.

use std::io::{Read, Write};

use crate::http::{connect, header, read_head, up_to};
use crate::mercure::fixture::{Hub, PATH, form, ids};

/// The values of a parameter that is repeated.
fn repeated(count: usize) -> Vec<(&'static str, String)> {
    (0..count).map(|number| ("topic", number.to_string())).collect()
}

fn pairs<'a>(owned: &'a [(&'a str, String)]) -> Vec<(&'a str, &'a str)> {
    owned.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[test]
fn topic_is_repeated_up_to_a_thousand_times_and_each_is_enough() {
    let hub = Hub::open(&["--header-bytes", "64KiB"]);
    let thousand = repeated(1000);
    let mut stream = hub.stream(&pairs(&thousand), &[]);
    for topic in ["0", "elsewhere", "999"] {
        hub.publish(&[("topic", topic), ("data", topic)]);
    }
    assert_eq!(stream.data(2), ["0", "999"]);
    let answer = hub.refused(&pairs(&repeated(1001)), &[]);
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("1000"), "{}", answer.body);
}

#[test]
fn a_topic_is_everything_or_an_exact_string_or_a_uri_template() {
    let hub = Hub::open(&[]);
    let all = [
        "https://example.com/books/1",
        "https://example.com/books/1/2",
        "https://example.com/{id}",
        "*",
    ];
    for topic in all {
        hub.publish(&[("topic", topic), ("data", topic)]);
    }
    let cases: &[(&[&str], &[&str])] = &[
        (&["*"], &all),
        (&["https://example.com/books/1"], &all[..1]),
        (&["https://example.com/books/{id}"], &all[..1]),
        (&["https://example.com/books{/id*}"], &all[..2]),
        (&["https://example.com/{id}"], &all[2..3]),
        (&["https://example.com/{+id}"], &all[..2]),
        (&["https://example.com/books/{id}", "https://example.com/{id}"], &[all[0], all[2]]),
    ];
    for (topics, expected) in cases {
        let asked = topics.iter().map(|topic| ("topic", *topic));
        let asked: Vec<_> = asked.chain([("topic", "end"), ("lastEventID", "earliest")]).collect();
        let mut stream = hub.stream(&asked, &[]);
        hub.publish(&[("topic", "end"), ("data", "end")]);
        let data = std::iter::from_fn(|| stream.next())
            .map(|event| event.data)
            .take_while(|data| data != "end");
        assert_eq!(data.collect::<Vec<_>>(), *expected, "{topics:?}");
    }
}

#[test]
fn without_a_topic_or_with_one_that_cannot_be_it_is_400() {
    let hub = Hub::open(&[]);
    for asked in [
        &[][..],
        &[("topic", "")],
        &[("topic", "a\nb")],
        &[("topics", "a")],
        &[("topic", "{a:999}")],
    ] {
        assert_eq!(hub.refused(asked, &[]).status, 400, "{asked:?}");
    }
    assert_eq!(hub.refused_by("?topic=%ff", &[]).status, 400);
}

#[test]
fn the_cursor_is_a_header_that_is_not_empty_else_the_query() {
    let hub = Hub::open(&[]);
    for id in ["1", "2", "3", "4"] {
        hub.publish(&[("topic", "a"), ("id", id)]);
    }
    let by_query = [("topic", "a"), ("lastEventID", "1")];
    assert_eq!(ids(&mut hub.stream(&by_query, &[]), 3), ["2", "3", "4"]);
    assert_eq!(ids(&mut hub.stream(&by_query, &["Last-Event-ID: 3"]), 1), ["4"]);
    assert_eq!(ids(&mut hub.stream(&by_query, &["Last-Event-ID:"]), 3), ["2", "3", "4"]);
    let by_its_old_name = [("topic", "a"), ("Last-Event-ID", "3")];
    assert_eq!(ids(&mut hub.stream(&by_its_old_name, &[]), 1), ["4"]);
}

#[test]
fn earliest_replays_all_history() {
    let hub = Hub::open(&[]);
    for id in ["1", "2"] {
        hub.publish(&[("topic", "a"), ("id", id)]);
    }
    assert_eq!(
        ids(&mut hub.stream(&[("topic", "a"), ("lastEventID", "earliest")], &[]), 2),
        ["1", "2"]
    );
    assert_eq!(
        ids(&mut hub.stream(&[("topic", "a")], &["Last-Event-ID: earliest"]), 2),
        ["1", "2"]
    );
}

#[test]
fn the_answer_has_the_requested_id_if_it_is_found_and_else_earliest() {
    let hub = Hub::open(&[]);
    hub.publish(&[("topic", "a"), ("id", "caf\u{e9}")]);
    let stated = |headers: &[&str]| {
        let stream = hub.stream(&[("topic", "a")], headers);
        header(&stream.head, "last-event-id").map(str::to_owned)
    };
    assert_eq!(stated(&["Last-Event-ID: caf\u{e9}"]).as_deref(), Some("caf\u{e9}"));
    assert_eq!(stated(&["Last-Event-ID: unknown"]).as_deref(), Some("earliest"));
    assert_eq!(stated(&["Last-Event-ID: earliest"]).as_deref(), Some("earliest"));
    assert_eq!(stated(&[]), None, "nothing was asked for");
    assert_eq!(stated(&["Last-Event-ID:"]), None);
}

#[test]
fn an_id_that_is_not_kept_replays_nothing() {
    let hub = Hub::open(&["--history-events", "2"]);
    for id in ["1", "2", "3"] {
        hub.publish(&[("topic", "a"), ("id", id)]);
    }
    for unknown in ["1", "unknown"] {
        let mut stream = hub.stream(&[("topic", "a"), ("lastEventID", unknown)], &[]);
        assert_eq!(header(&stream.head, "last-event-id"), Some("earliest"));
        hub.publish(&[("topic", "a"), ("id", "next")]);
        assert_eq!(ids(&mut stream, 1), ["next"]);
    }
}

#[test]
fn a_stream_is_an_event_stream_and_no_cache_or_proxy_holds_it() {
    let stream = Hub::open(&[]).stream(&[("topic", "a")], &[]);
    assert_eq!(header(&stream.head, "content-type"), Some("text/event-stream"));
    assert_eq!(header(&stream.head, "cache-control"), Some("no-store, no-transform"));
    assert_eq!(header(&stream.head, "x-accel-buffering"), Some("no"));
}

/// The first bytes of a stream's body, until `end` is there: the same by both ways out.
#[track_caller]
fn raw(hub: &Hub, asked: &[(&str, &str)], end: &str) -> String {
    let by_shard = hub.stream(asked, &[]).text_until(end);
    assert_eq!(raw_by_hyper(hub, asked, end), by_shard);
    by_shard
}

/// HTTP/1.0 has no chunks, and no shard takes it over.
fn raw_by_hyper(hub: &Hub, asked: &[(&str, &str)], end: &str) -> String {
    let mut socket = connect(hub.server.address);
    write!(socket, "GET {PATH}?{} HTTP/1.0\r\nHost: x\r\n\r\n", form(asked)).unwrap();
    let (_, mut body) = read_head(&mut socket);
    let mut buffer = [0; 1024];
    loop {
        if let Some(text) = up_to(&body, end) {
            return text;
        }
        let count = socket.read(&mut buffer).unwrap();
        assert!(count > 0, "{body:?}");
        body.extend_from_slice(&buffer[..count]);
    }
}

#[test]
fn the_body_begins_with_a_comment_and_has_nothing_but_updates_in_their_fields() {
    let hub = Hub::open(&[]);
    let all =
        [("topic", "a"), ("data", "1\r\n2\r3\n4"), ("id", "urn:x"), ("type", "t"), ("retry", "7")];
    hub.publish(&all);
    hub.publish(&[("topic", "a"), ("data", "end"), ("id", "urn:y"), ("retry", "0")]);
    let body = raw(&hub, &[("topic", "a"), ("lastEventID", "earliest")], "id: urn:y\n\n");
    let update = "retry: 500\nevent: t\ndata: 1\ndata: 2\ndata: 3\ndata: 4\nid: urn:x\n\n";
    assert_eq!(body, format!(":\n{update}data: end\nid: urn:y\n\n"), "retry only if it is not 0");
}

#[test]
fn a_comment_is_the_heartbeat_even_when_there_was_something_else() {
    let hub = Hub::open(&["--heartbeat", "20ms"]);
    hub.publish(&[("topic", "elsewhere")]);
    assert_eq!(raw(&hub, &[("topic", "a")], ":\n:\n:\n"), ":\n:\n:\n");
}
