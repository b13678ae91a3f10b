//! 0.x: publishing.

use serde_json::{Value, json};

use crate::http::{Stream, request};
use crate::mercure::fixture::{Hub, form, with_zero};

#[test]
fn an_update_has_all_its_fields_and_the_answer_is_its_id() {
    let hub = Hub::open(&[]);
    let mut stream = hub.stream(&[("topic", "a")], &[]);
    let fields = [
        ("topic", "a"),
        ("data", "one\nflat white"),
        ("id", "urn:x"),
        ("type", "brewed"),
        ("retry", "5"),
    ];
    let answer = hub.post(&fields, &[&with_zero(&json!({"publish": ["*"]}))]);
    assert_eq!((answer.status, answer.body.as_str()), (200, "urn:x"));
    assert!(answer.header("content-type").unwrap().starts_with("text/plain"));
    let event = stream.next().unwrap();
    assert_eq!((event.last_event_id.as_str(), event.event_type.as_str()), ("urn:x", "brewed"));
    assert_eq!(event.data, "one\nflat white");
}

#[test]
fn without_an_id_it_is_a_new_urn_of_a_uuid() {
    let hub = Hub::open(&[]);
    let mut stream = hub.stream(&[("topic", "a")], &[]);
    let (one, other) = (hub.publish(&[("topic", "a")]), hub.publish(&[("topic", "a"), ("id", "")]));
    assert!(
        one.starts_with("urn:uuid:") && other.starts_with("urn:uuid:") && one != other,
        "{one} {other}"
    );
    assert_eq!([(); 2].map(|()| stream.next().unwrap().last_event_id), [one, other]);
}

#[test]
fn the_first_topic_is_canonical_and_the_rest_are_alternates() {
    let hub = Hub::open(&[]);
    let mut enveloped = Stream::open(hub.server.address, "/events/b?envelope=json", &[]);
    let mut streams = ["a", "b", "c"].map(|topic| hub.stream(&[("topic", topic)], &[]));
    hub.publish(&[("topic", "a"), ("data", "x"), ("topic", "b"), ("topic", "c")]);
    for stream in &mut streams {
        assert_eq!(stream.data(1), ["x"]);
    }
    let envelope: Value = serde_json::from_str(&enveloped.data(1)[0]).unwrap();
    assert_eq!((&envelope["topic"], &envelope["alternates"]), (&json!("a"), &json!(["b", "c"])));
}

#[test]
fn a_subscriber_of_several_topics_gets_an_update_once() {
    let hub = Hub::open(&[]);
    let mut stream = hub.stream(&[("topic", "a"), ("topic", "b"), ("topic", "{x}")], &[]);
    hub.publish(&[("topic", "a"), ("topic", "b"), ("data", "1")]);
    hub.publish(&[("topic", "a"), ("data", "2")]);
    assert_eq!(stream.data(2), ["1", "2"]);
}

#[test]
fn the_presence_of_private_counts_with_any_value() {
    let hub = Hub::open(&[]);
    let mut stream = hub.stream(&[("topic", "a")], &[]);
    for value in ["", "on", "off", "false", "0"] {
        hub.publish(&[("topic", "a"), ("data", "secret"), ("private", value)]);
    }
    hub.publish(&[("topic", "a"), ("data", "open")]);
    assert_eq!(stream.data(1), ["open"]);
}

#[test]
fn an_invalid_update_is_400_with_the_reason() {
    let hub = Hub::open(&[]);
    let token = with_zero(&json!({"publish": ["*"]}));
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("data", "x")], "topic"),
        (&[("topic", "")], "topic"),
        (&[("topic", "a\nb")], "topic"),
        (&[("topic", "a"), ("id", "a\nb")], "`id`"),
        (&[("topic", "a"), ("id", "earliest")], "`id`"),
        (&[("topic", "a"), ("id", "#a")], "`id`"),
        (&[("topic", "a"), ("type", "a\rb")], "event type"),
        (&[("topic", "a"), ("type", "carafe.gap")], "carafe."),
        (&[("topic", "a"), ("retry", "soon")], "`retry`"),
        (&[("topic", "a"), ("retry", "-1")], "`retry`"),
    ];
    for (fields, named) in cases {
        let answer = hub.post(fields, &[&token]);
        assert_eq!(answer.status, 400, "{fields:?}");
        assert!(answer.body.contains(named), "{fields:?}: {}", answer.body);
    }
    let typed =
        |content_type: &str, body: &str| hub.ask("POST", "", &[content_type, &token], body).status;
    assert_eq!(typed("Content-Type: application/json", "{\"topic\":\"a\"}"), 400);
    assert_eq!(typed("X-No: type", &form(&[("topic", "a")])), 400);
    assert_eq!(
        typed("Content-Type: application/x-www-form-urlencoded; charset=utf-8", "topic=a&data=%ff"),
        400
    );
    assert_eq!(
        typed("Content-Type: application/x-www-form-urlencoded; charset=utf-8", "topic=a&data=%20"),
        200
    );
}

#[test]
fn nobody_publishes_to_the_topics_of_subscription_events() {
    let hub = Hub::closed(&["--anonymous", "subscribe,publish"]);
    let token = with_zero(&json!({"publish": ["*"]}));
    for own in [
        "/.well-known/mercure/subscriptions/a/b",
        "/.well-known/mercure/subscriptions",
        "https://other.example/.well-known/%6Dercure/%73ubscriptions/x",
    ] {
        let fields = [("topic", "a"), ("topic", own)];
        assert_eq!(hub.post(&fields, &[&token]).status, 400, "{own}");
        let target = format!("/events?topic=a&{}", form(&[("topic", own)]));
        let answer = request(hub.server.address, "POST", &target, &[], b"x");
        assert_eq!(
            (answer.status, answer.json()["type"].as_str()),
            (403, Some("urn:carafe:problem:forbidden")),
            "{own}"
        );
        let line = json!({"topic": own, "data": "x"}).to_string();
        let ndjson = ["Content-Type: application/x-ndjson"];
        let answer = request(hub.server.address, "POST", "/events", &ndjson, line.as_bytes());
        assert_eq!(answer.status, 403, "{own}");
    }
    assert_eq!(hub.post(&[("topic", "mercure/subscribers")], &[&token]).status, 200);
}
