//! Private updates: which subscribers receive them live, from history, and by their IDs.

use serde_json::{Value, json};

use crate::http::header;
use crate::mercure::fixture::{Hub, detail, ids, pattern_detail, with_one, with_zero};

/// A private update to some topics, and then a public one to the first, which marks the end.
fn publish(hub: &Hub, topics: &[&str]) {
    let topics: Vec<_> = topics.iter().map(|topic| ("topic", *topic)).collect();
    hub.publish(
        &[&topics[..], &[("private", "on"), ("data", "secret"), ("id", "secret")]].concat(),
    );
    hub.publish(&[topics[0], ("data", "open"), ("id", "open")]);
}

/// Whether a subscriber gets the private one: live, and from history.
#[track_caller]
fn check(
    hub: &Hub,
    asked: &[(&str, &str)],
    cursor: &str,
    token: &str,
    topics: &[&str],
    expected: bool,
) {
    let mut live = hub.stream(asked, &[token]);
    publish(hub, topics);
    let expected: &[&str] = if expected { &["secret", "open"] } else { &["open"] };
    assert_eq!(live.data(expected.len()), expected, "live: {asked:?} {topics:?}");
    let history = [asked, &[(cursor, "earliest")]].concat();
    let replayed = hub.stream(&history, &[token]).data(expected.len());
    assert_eq!(replayed, expected, "from history: {asked:?} {topics:?}");
}

fn check_zero(asked: &[&str], granted: &[&str], topics: &[&str], expected: bool) {
    let asked: Vec<_> = asked.iter().map(|topic| ("topic", *topic)).collect();
    check(
        &Hub::open(&[]),
        &asked,
        "lastEventID",
        &with_zero(&json!({ "subscribe": granted })),
        topics,
        expected,
    );
}

#[test]
fn in_0_a_private_update_reaches_subscribers_of_one_topic_with_a_grant_for_one() {
    check_zero(&["a"], &["a"], &["a"], true);
    check_zero(&["a"], &["b"], &["a"], false);
    check_zero(&["a"], &[], &["a"], false);
    check_zero(&["*"], &["a"], &["a"], true);
    check_zero(&["*"], &["b"], &["a"], false);
    check_zero(&["a"], &["*"], &["a"], true);
    check_zero(&["a"], &["{x}"], &["a"], true);
    check_zero(&["a"], &["b"], &["a", "b"], true);
    check_zero(&["a"], &["c"], &["a", "b"], false);
}

#[test]
fn in_1_the_routing_and_the_grant_each_match_any_topic() {
    let check = |asked: &[(&str, &str)], details: Value, topics: &[&str], expected| {
        check(&Hub::open(&[]), asked, "last_event_id", &with_one(&details), topics, expected);
    };
    let granted = |topics: &[&str]| json!([detail(&["subscribe"], topics)]);
    check(&[("match", "a")], granted(&["a"]), &["a"], true);
    check(&[("match", "a")], granted(&["b"]), &["a"], false);
    check(&[("match", "a")], granted(&["b"]), &["a", "b"], true);
    check(&[("match_urlpattern", "*")], granted(&["b"]), &["a", "b"], true);
    check(&[("match_urlpattern", "*")], granted(&["c"]), &["a", "b"], false);
    check(&[("match", "a")], json!([detail(&["publish"], &["a"])]), &["a"], false);
    check(
        &[("match", "/x/1")],
        json!([pattern_detail(&["subscribe"], &["/x/:id"])]),
        &["/x/1"],
        true,
    );
    check(
        &[("match", "/x/1")],
        json!([pattern_detail(&["subscribe"], &["/y/:id"])]),
        &["/x/1"],
        false,
    );
}

#[test]
fn clients_without_a_token_get_no_private_update() {
    let hub = Hub::open(&[]);
    check(&hub, &[("topic", "a")], "lastEventID", "X-No: token", &["a"], false);
}

#[test]
fn the_id_of_an_update_that_may_not_be_seen_is_unknown() {
    let hub = Hub::open(&[]);
    publish(&hub, &["a"]);
    let found = |token: &str, cursor: &str| {
        let stream = hub.stream(&[("topic", "a")], &[token, &format!("Last-Event-ID: {cursor}")]);
        header(&stream.head, "last-event-id").unwrap().to_owned()
    };
    assert_eq!(found(&with_zero(&json!({"subscribe": ["a"]})), "secret"), "secret");
    assert_eq!(found(&with_zero(&json!({"subscribe": ["b"]})), "secret"), "earliest");
    assert_eq!(found("X-No: token", "secret"), "earliest");
    assert_eq!(found("X-No: token", "open"), "open");
}

#[test]
fn no_publisher_keeps_others_from_resuming_by_using_their_id_first() {
    let hub = Hub::open(&[]);
    hub.publish(&[("topic", "elsewhere"), ("private", "on"), ("id", "order-1")]);
    hub.publish(&[("topic", "a"), ("id", "order-1")]);
    hub.publish(&[("topic", "a"), ("id", "order-2")]);
    let mut stream = hub.stream(&[("topic", "a"), ("lastEventID", "order-1")], &[]);
    assert_eq!(header(&stream.head, "last-event-id"), Some("order-1"));
    assert_eq!(ids(&mut stream, 1), ["order-2"]);
}
