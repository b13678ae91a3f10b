//! The HTTP API of the hub, as it answers on the wire.

use serde_json::json;

use crate::http::{Stream, get, post, publish, request};
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
fn topics_are_distinct_and_patterns_join_them() {
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
        (
            "/events/payments/1?pattern=orders/1*&earliest",
            &["orders/1", "payments/1", "orders/1/items"],
        ),
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
    assert_eq!(
        replay(&hub, "/events/https:%2F%2Fexample.com%2Fbooks%2F1%23top?earliest", 1),
        ["by query"]
    );
}

#[test]
fn head_has_the_position_to_stream_from() {
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
fn health_and_readiness_have_endpoints() {
    let hub = hub();
    assert_eq!(
        (get(hub.address, "/healthz").status, get(hub.address, "/readyz").status),
        (200, 200)
    );
    let page = get(hub.address, "/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
}
