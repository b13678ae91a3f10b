//! 0.x: the open subscriptions, as an API and private updates report them.

use serde_json::{Value, json};

use crate::http::{Stream, request};
use crate::mercure::fixture::{
    Hub, PATH, ask_subscriptions, hub_with_subscriptions, subscriptions_as, with_zero,
};

const TEMPLATE: &str = "https://example.com/{id}";
const ESCAPED: &str = "https%3A%2F%2Fexample.com%2F%7Bid%7D";

fn watcher() -> String {
    with_zero(&json!({"subscribe": ["/.well-known/mercure/subscriptions{/topic}{/subscriber}"]}))
}

#[track_caller]
fn document(hub: &Hub, path: &str) -> Value {
    subscriptions_as(hub, path, &watcher(), "application/ld+json")
}

#[test]
fn the_api_lists_all_subscriptions_those_of_a_topic_and_one() {
    let hub = hub_with_subscriptions();
    hub.publish(&[("topic", "x"), ("id", "urn:last")]);
    let token = with_zero(&json!({"subscribe": [], "payload": {"user": 7}}));
    let _stream = hub.stream(&[("topic", TEMPLATE), ("topic", "a"), ("topic", "a")], &[&token]);
    let all = document(&hub, "");
    let subscriber = all["subscriptions"][0]["subscriber"].as_str().unwrap().to_owned();
    assert!(subscriber.starts_with("urn:uuid:"), "{all}");
    let id =
        |topic: &str| format!("{PATH}/subscriptions/{topic}/{}", subscriber.replace(':', "%3A"));
    let one = |topic: &str, in_path: &str| {
        json!({"id": id(in_path), "type": "Subscription", "topic": topic, "subscriber": subscriber, "active": true,
            "payload": {"user": 7}})
    };
    let last = all["lastEventID"].clone();
    let collection = |id: String, subscriptions: Value| {
        json!({"@context": "https://mercure.rocks/", "id": id, "type": "Subscriptions", "subscriptions": subscriptions,
            "lastEventID": last})
    };
    assert_eq!(
        all,
        collection(format!("{PATH}/subscriptions"), json!([one("a", "a"), one(TEMPLATE, ESCAPED)]))
    );
    let of_topic = document(&hub, &format!("/{ESCAPED}"));
    assert_eq!(
        of_topic,
        collection(format!("{PATH}/subscriptions/{ESCAPED}"), json!([one(TEMPLATE, ESCAPED)]))
    );
    assert_eq!(
        document(&hub, "/nobody"),
        collection(format!("{PATH}/subscriptions/nobody"), json!([]))
    );

    let mut expected = one(TEMPLATE, ESCAPED);
    expected.as_object_mut().unwrap().extend([
        ("@context".to_owned(), json!("https://mercure.rocks/")),
        ("lastEventID".to_owned(), last.clone()),
    ]);
    let path = id(ESCAPED).replace(&format!("{PATH}/subscriptions"), "");
    assert_eq!(document(&hub, &path), expected);
    assert_eq!(ask_subscriptions(&hub, "/a/urn%3Auuid%3Anobody", &[&watcher()]).status, 404);
}

#[test]
fn the_last_id_is_that_of_the_newest_update_that_the_caller_may_see() {
    let hub = hub_with_subscriptions();
    assert_eq!(document(&hub, "")["lastEventID"], "earliest");
    hub.publish(&[("topic", "a"), ("id", "open")]);
    hub.publish(&[("topic", "a"), ("id", "secret"), ("private", "on")]);
    assert_eq!(document(&hub, "")["lastEventID"], "open");
}

#[test]
fn the_api_takes_a_token_that_may_subscribe_to_its_url() {
    let hub = hub_with_subscriptions();
    assert_eq!(ask_subscriptions(&hub, "", &[]).status, 401);
    for (selector, path, status) in [
        ("*", "", 200),
        ("/.well-known/mercure/subscriptions", "", 200),
        ("/.well-known/mercure/subscriptions", "/a", 401),
        ("/.well-known/mercure/subscriptions/{topic}", "/a", 200),
        ("/.well-known/mercure/subscriptions/a", "/b", 401),
        ("/.well-known/mercure/subscriptions/{topic}/{subscriber}", "", 401),
    ] {
        let token = with_zero(&json!({ "subscribe": [selector] }));
        assert_eq!(ask_subscriptions(&hub, path, &[&token]).status, status, "{selector} {path}");
    }
    let publisher = with_zero(&json!({"publish": ["*"]}));
    assert_eq!(ask_subscriptions(&hub, "", &[&publisher]).status, 401);
    assert_eq!(
        request(hub.server.address, "POST", &format!("{PATH}/subscriptions"), &[&watcher()], b"")
            .status,
        405
    );
}

#[track_caller]
fn next(stream: &mut Stream) -> Value {
    serde_json::from_str(&stream.next().unwrap().data).unwrap()
}

#[test]
fn a_private_update_reports_the_start_and_the_end_of_a_subscription() {
    let hub = hub_with_subscriptions();
    let all = "/.well-known/mercure/subscriptions/{topic}/{subscriber}";
    let mut watching = hub.stream(&[("topic", all)], &[&watcher()]);
    let own = next(&mut watching);
    assert_eq!((&own["topic"], &own["active"]), (&json!(all), &json!(true)), "the watcher's own");

    let subscriber = hub.stream(&[("topic", TEMPLATE)], &[]);
    let began = next(&mut watching);
    assert_eq!(
        (&began["topic"], &began["active"], &began["type"]),
        (&json!(TEMPLATE), &json!(true), &json!("Subscription"))
    );
    assert_eq!(began["@context"], "https://mercure.rocks/");
    drop(subscriber);
    let ended = next(&mut watching);
    let mut expected = began.clone();
    expected["active"] = json!(false);
    assert_eq!(ended, expected);
    assert_eq!(document(&hub, &format!("/{ESCAPED}"))["subscriptions"], json!([]));
}

#[test]
fn clients_without_a_token_learn_of_no_subscription() {
    let hub = hub_with_subscriptions();
    let mut anonymous = hub.stream(&[("topic", "*")], &[]);
    hub.stream(&[("topic", "a")], &[]);
    hub.publish(&[("topic", "a"), ("data", "open")]);
    assert_eq!(anonymous.data(1), ["open"]);
}

#[test]
fn without_the_option_nothing_is_reported() {
    let hub = Hub::open(&[]);
    let mut watching = hub.stream(&[("topic", "*")], &[&with_zero(&json!({"subscribe": ["*"]}))]);
    hub.stream(&[("topic", "a")], &[]);
    hub.publish(&[("topic", "a"), ("data", "open")]);
    assert_eq!(watching.data(1), ["open"]);
    assert_eq!(ask_subscriptions(&hub, "", &[&watcher()]).status, 404);
}

#[test]
fn subscribers_that_come_and_go_push_no_update_out_of_history() {
    let hub = Hub::open(&["--mercure-subscriptions", "--history-events", "10"]);
    hub.publish(&[("topic", "orders"), ("data", "the order")]);
    for _ in 0..30 {
        drop(hub.stream(&[("topic", "a")], &[]));
    }
    let mut stream = hub.stream(&[("topic", "orders"), ("lastEventID", "earliest")], &[]);
    assert_eq!(stream.data(1), ["the order"]);
}
