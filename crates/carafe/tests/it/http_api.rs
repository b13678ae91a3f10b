//! The HTTP API of the hub, as it answers on the wire.

use serde_json::{Value, json};

use crate::http::{Stream, get, header, post, publish, request};
use crate::process::Server;

fn hub() -> Server {
    Server::start(&[])
}

/// The data of the events that are there at once.
#[track_caller]
fn replay(hub: &Server, target: &str, count: usize) -> Vec<String> {
    Stream::open(hub.address, target, &[]).data(count)
}

#[test]
fn a_stream_begins_at_once_with_its_headers_and_position() {
    let hub = hub();
    let mut stream = Stream::open(hub.address, "/events/orders", &[]);
    assert_eq!(header(&stream.head, "content-type"), Some("text/event-stream"));
    assert_eq!(header(&stream.head, "cache-control"), Some("no-store"));
    assert_eq!(header(&stream.head, "x-accel-buffering"), Some("no"));
    let position = stream.next().unwrap();
    assert_eq!((position.event_type.as_str(), position.data.as_str()), ("carafe.position", ""));
    assert!(position.last_event_id.ends_with("-0-00000000"), "{}", position.last_event_id);
}

#[test]
fn what_is_published_arrives_with_all_its_fields() {
    let hub = hub();
    let mut stream = Stream::open(hub.address, "/events/orders", &[]);
    let answer = post(hub.address, "/events/orders?event=brewed&retry=7000", "one\nflat white");
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    stream.next().unwrap();
    let event = stream.next().unwrap();
    assert_eq!((event.event_type.as_str(), event.data.as_str()), ("brewed", "one\nflat white"));
    assert_eq!(answer.json(), json!({ "id": event.last_event_id }));
}

#[test]
fn topics_are_told_apart_and_patterns_join_them() {
    let hub = hub();
    for topic in ["orders/1", "orders/2", "payments/1", "orders/1/items"] {
        publish(hub.address, &format!("/events/{topic}"), topic);
    }
    publish(hub.address, "/events/end?topic=orders/end&topic=payments/end", "end");
    let cases: &[(&str, &[&str])] = &[
        ("/events/orders/1?earliest", &["orders/1"]),
        ("/events?topic=orders/1&topic=payments/1&earliest", &["orders/1", "payments/1"]),
        ("/events?pattern=orders/:id&earliest", &["orders/1", "orders/2", "end"]),
        ("/events?pattern=orders/*&earliest", &["orders/1", "orders/2", "orders/1/items", "end"]),
        ("/events/payments/1?pattern=orders/1*&earliest", &["orders/1", "payments/1", "orders/1/items"]),
        ("/events?earliest", &["orders/1", "orders/2", "payments/1", "orders/1/items", "end"]),
        ("/events/end?pattern=orders/end&pattern=payments/*&earliest", &["payments/1", "end"]),
    ];
    for (target, expected) in cases {
        assert_eq!(replay(&hub, target, expected.len()), *expected, "{target}");
    }
}

#[test]
fn a_topic_is_the_percent_decoded_rest_of_the_path_and_the_query_reaches_any_string() {
    let hub = hub();
    publish(hub.address, "/events/caf%C3%A9/a%20b%2Fc%3Fd", "by path");
    publish(hub.address, "/events?topic=https://example.com/books/1%23top", "by query");
    assert_eq!(replay(&hub, "/events?topic=caf%C3%A9/a+b/c?d&earliest", 1), ["by path"]);
    assert_eq!(replay(&hub, "/events/https:%2F%2Fexample.com%2Fbooks%2F1%23top?earliest", 1), ["by query"]);
}

#[test]
fn the_start_of_a_stream_is_chosen_by_header_then_query() {
    let hub = hub();
    let ids: Vec<_> = (1..=5).map(|number| publish(hub.address, "/events/a", &number.to_string())).collect();
    let header = format!("Last-Event-ID: {}", ids[3]);
    let after_query = format!("/events/a?last_event_id={}", ids[1]);
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("/events/a?earliest", &[], &["1", "2", "3", "4", "5"]),
        ("/events/a?last=2", &[], &["4", "5"]),
        ("/events/a?last=100", &[], &["1", "2", "3", "4", "5"]),
        ("/events/a?last_event_id=earliest", &[], &["1", "2", "3", "4", "5"]),
        (&after_query, &[], &["3", "4", "5"]),
        (&after_query, &[&header], &["5"]),
        ("/events/a?earliest", &[&header], &["5"]),
    ];
    for (target, headers, expected) in cases {
        let data = Stream::open(hub.address, target, headers).data(expected.len());
        assert_eq!(data, *expected, "{target} {headers:?}");
    }
    let mut live = Stream::open(hub.address, "/events/a", &[]);
    assert_eq!(live.next().unwrap().last_event_id, ids[4], "without a start, it is the tail");
}

#[test]
fn history_that_is_trimmed_is_told_as_a_gap_first() {
    let hub = Server::start(&["--history-events", "3"]);
    let ids: Vec<_> = (1..=5).map(|number| publish(hub.address, "/events/a", &number.to_string())).collect();
    let mut stream = Stream::open(hub.address, "/events/a", &[&format!("Last-Event-ID: {}", ids[0])]);
    let gap = stream.next().unwrap();
    assert_eq!(gap.event_type, "carafe.gap");
    let told: Value = serde_json::from_str(&gap.data).unwrap();
    assert_eq!(told, json!({ "requested": ids[0], "oldest": ids[2], "reason": "trimmed" }));
    assert_eq!(gap.last_event_id, ids[1], "the stream goes on just before the oldest");
    assert_eq!(stream.data(3), ["3", "4", "5"]);

    let mut at_the_edge = Stream::open(hub.address, "/events/a", &[&format!("Last-Event-ID: {}", ids[1])]);
    assert_eq!(at_the_edge.next().unwrap().event_type, "carafe.position", "nothing is missing");
    assert_eq!(at_the_edge.data(3), ["3", "4", "5"]);
}

#[test]
fn an_id_that_no_hub_gave_out_is_told_as_a_gap() {
    let hub = hub();
    let id = publish(hub.address, "/events/a", "1");
    for foreign in ["42", "garbage \u{2615}", "000000000000-1-00000000"] {
        let mut stream = Stream::open(hub.address, "/events/a", &[&format!("Last-Event-ID: {foreign}")]);
        let gap = stream.next().unwrap();
        let told: Value = serde_json::from_str(&gap.data).unwrap();
        assert_eq!(told, json!({ "requested": foreign, "oldest": id, "reason": "foreign" }));
        assert_eq!(stream.data(1), ["1"]);
    }
}

#[test]
fn an_envelope_tells_topic_id_time_type_and_data() {
    let hub = hub();
    let id = publish(hub.address, "/events/orders/1?event=brewed&topic=orders/latest", "x\ny");
    let mut stream = Stream::open(hub.address, "/events/orders/1?earliest&envelope=json", &[]);
    stream.next().unwrap();
    let event = stream.next().unwrap();
    assert_eq!(event.event_type, "message", "one listener sees events of every type");
    assert_eq!(event.last_event_id, id);
    let mut envelope: Value = serde_json::from_str(&event.data).unwrap();
    let time = envelope["time"].take();
    assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
    let expected = json!({
        "topic": "orders/1", "alternates": ["orders/latest"], "id": id, "time": null, "type": "brewed", "data": "x\ny",
    });
    assert_eq!(envelope, expected);
}

#[test]
fn head_tells_the_position_to_stream_from() {
    let hub = hub();
    publish(hub.address, "/events/a", "in the snapshot");
    let answer = request(hub.address, "HEAD", "/events/a", &[], b"");
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    let position = answer.header("carafe-position").unwrap();
    publish(hub.address, "/events/a", "after it");
    assert_eq!(replay(&hub, &format!("/events/a?last_event_id={position}"), 1), ["after it"]);
}

#[test]
fn a_repeated_idempotency_key_stores_nothing_and_answers_as_the_first_did() {
    let hub = hub();
    let first = post(hub.address, "/events/a?id=k1", "once");
    let second = post(hub.address, "/events/a?id=k1", "twice");
    assert_eq!((first.status, second.status), (201, 200));
    assert_eq!(first.json(), second.json());
    assert_eq!(post(hub.address, "/events/b?id=k1", "another topic").status, 201);
    assert_eq!(replay(&hub, "/events?earliest", 2), ["once", "another topic"]);
}

#[test]
fn a_batch_is_published_in_order() {
    let hub = hub();
    let lines = "{\"topic\":\"a\",\"data\":\"1\"}\r\n\n{\"topic\":\"b\",\"data\":{\"n\":2},\"event\":\"t\"}\n\
         {\"topic\":\"a\",\"data\":\"3\",\"id\":\"k\",\"retry\":5,\"private\":false,\"alternates\":[\"c\"]}";
    let ndjson = ["Content-Type: application/x-ndjson; charset=utf-8"];
    let answer = request(hub.address, "POST", "/events", &ndjson, lines.as_bytes());
    assert_eq!(answer.status, 201, "{}", answer.body);
    let mut stream = Stream::open(hub.address, "/events?earliest", &[]);
    stream.next().unwrap();
    let events: Vec<_> = (0..3).map(|_| stream.next().unwrap()).collect();
    let ids: Vec<_> = events.iter().map(|event| event.last_event_id.as_str()).collect();
    assert_eq!(answer.json(), json!({ "ids": ids }));
    let data: Vec<_> = events.iter().map(|event| event.data.as_str()).collect();
    assert_eq!(data, ["1", "{\"n\":2}", "3"]);
    assert_eq!(replay(&hub, "/events/c?earliest", 1), ["3"]);
}

#[test]
fn private_events_are_not_for_strangers() {
    let hub = hub();
    publish(hub.address, "/events/a?private", "secret");
    publish(hub.address, "/events/a", "open");
    assert_eq!(replay(&hub, "/events/a?earliest", 1), ["open"]);
}

#[test]
fn a_quiet_stream_is_kept_open_and_told_how_far_it_is() {
    let hub = Server::start(&["--heartbeat", "50ms"]);
    let mut quiet = Stream::open(hub.address, "/events/quiet", &[]);
    quiet.next().unwrap();
    let elsewhere = publish(hub.address, "/events/busy", "not for it");
    let position = quiet.next().unwrap();
    assert_eq!((position.event_type.as_str(), position.last_event_id), ("carafe.position", elsewhere));
}

#[test]
fn health_and_readiness_are_told() {
    let hub = hub();
    assert_eq!((get(hub.address, "/healthz").status, get(hub.address, "/readyz").status), (200, 200));
    let page = get(hub.address, "/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
}
