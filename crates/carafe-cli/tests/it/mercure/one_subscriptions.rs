//! The draft of 1.0: the open subscriptions, as an API and private updates report them.

use serde_json::{Value, json};

use crate::http::{Stream, post};
use crate::mercure::fixture::{
    Hub, PATH, ask_subscriptions, bearer, claims, detail, hub_with_subscriptions, pattern_detail,
    sign_one, subscriptions_as, with_one, with_zero,
};

const PATTERN: &str = "https://example.com/:id";
const ESCAPED: &str = "https%3A%2F%2Fexample.com%2F%3Aid";

/// The subscriptions of both versions, as a pattern of 1.0.
const ALL: &str = "/.well-known/mercure/subscriptions{/*}?";

fn watcher() -> String {
    with_one(&json!([pattern_detail(&["subscribe"], &[ALL])]))
}

/// A token whose subscriptions have these payloads, each for one pattern.
fn with_payloads(payloads: &[(&str, Value)]) -> String {
    let details = payloads.iter().map(|(pattern, payload)| {
        let mut detail = pattern_detail(&["subscribe"], &[pattern]);
        detail["payload"] = payload.clone();
        detail
    });
    with_one(&details.collect())
}

#[track_caller]
fn document(hub: &Hub, path: &str) -> Value {
    subscriptions_as(hub, path, &watcher(), "application/json")
}

#[track_caller]
fn next(stream: &mut Stream) -> Value {
    let event = stream.next().unwrap();
    assert_eq!(event.event_type, "mercure", "{}", event.data);
    serde_json::from_str(&event.data).unwrap()
}

#[test]
fn the_api_lists_all_subscriptions_those_of_a_matcher_and_one() {
    let hub = hub_with_subscriptions();
    let matchers = [("match_urlpattern", PATTERN), ("match", "a"), ("match_exact", "a")];
    let _stream = hub.stream(&matchers, &[]);
    let all = document(&hub, "");
    let subscriber = all["subscriptions"][0]["subscriber"].as_str().unwrap().to_owned();
    assert!(subscriber.starts_with("urn:uuid:"), "{all}");
    let one = |match_type: &str, text: &str, in_path: &str| {
        let in_path = format!("{match_type}/{in_path}/{}", subscriber.replace(':', "%3A"));
        json!({"id": format!("{PATH}/subscriptions/{in_path}"), "type": "subscription",
            "match_type": match_type, "match": text, "subscriber": subscriber, "active": true})
    };
    let collection = |id: &str, subscriptions: Value| json!({"id": format!("{PATH}/subscriptions{id}"), "type": "subscriptions", "subscriptions": subscriptions});
    let (exact, pattern) = (one("exact", "a", "a"), one("urlpattern", PATTERN, ESCAPED));
    assert_eq!(all, collection("", json!([exact, pattern])));
    let of_pattern = format!("/urlpattern/{ESCAPED}");
    assert_eq!(document(&hub, &of_pattern), collection(&of_pattern, json!([pattern])));
    assert_eq!(document(&hub, "/exact/nobody"), collection("/exact/nobody", json!([])));
    let path = exact["id"].as_str().unwrap().replace(&format!("{PATH}/subscriptions"), "");
    assert_eq!(document(&hub, &path), exact);
    for other in
        ["/exact", "/EXACT/a", "/template/a", "/exact/a/urn%3Auuid%3Anobody", "/exact/a/b/c"]
    {
        assert_eq!(ask_subscriptions(&hub, other, &[&watcher()]).status, 404, "{other}");
    }
}

#[test]
fn the_link_has_the_newest_id_that_the_caller_may_see() {
    let hub = hub_with_subscriptions();
    let link = |last: &str| {
        format!(
            "<https://hub.example{PATH}>; rel=\"mercure\"; last-event-id=\"{last}\"; \
            type=\"mercure\"; content-type=\"application/json\""
        )
    };
    let ask = || ask_subscriptions(&hub, "", &[&watcher(), "Origin: https://hub.example"]);
    assert_eq!(ask().header("link"), Some(&*link("earliest")));
    hub.publish(&[("topic", "a"), ("id", "open")]);
    hub.publish(&[("topic", "a"), ("id", "secret"), ("private", "on")]);
    assert_eq!(ask().header("link"), Some(&*link("open")));
    hub.publish(&[("topic", "a"), ("id", "a \"quoted\\one\"")]);
    assert_eq!(ask().header("link"), Some(&*link("a \\\"quoted\\\\one\\\"")));
}

#[test]
fn the_api_takes_a_token_that_may_subscribe_to_its_url() {
    let hub = hub_with_subscriptions();
    assert_eq!(ask_subscriptions(&hub, "", &[]).status, 401);
    let exact = |topic: &str| with_one(&json!([detail(&["subscribe"], &[topic])]));
    let pattern = |text: &str| with_one(&json!([pattern_detail(&["subscribe"], &[text])]));
    let all = "/.well-known/mercure/subscriptions";
    for (token, path, status) in [
        (exact("*"), "", 200),
        (exact(all), "", 200),
        (exact(all), "/exact/a", 403),
        (exact(&format!("https://hub.example{all}")), "", 403),
        (pattern(&format!("https://hub.example{all}")), "", 200),
        (pattern(&format!("{all}/:match_type/:match")), "/exact/a", 200),
        (pattern(&format!("{all}/exact/a")), "/exact/b", 403),
        (pattern(&format!("{all}/:match_type/:match/:subscriber")), "", 403),
        (with_one(&json!([detail(&["publish"], &["*"])])), "", 403),
    ] {
        assert_eq!(ask_subscriptions(&hub, path, &[&token]).status, status, "{path}");
    }
}

#[test]
fn a_private_update_reports_the_start_and_the_end_of_a_subscription() {
    let hub = hub_with_subscriptions();
    let all = "/.well-known/mercure/subscriptions/:match_type/:match/:subscriber";
    let mut watching = hub.stream(&[("match_urlpattern", all)], &[&watcher()]);
    let own = next(&mut watching);
    assert_eq!((&own["match"], &own["active"]), (&json!(all), &json!(true)), "the watcher's own");

    let subscriber = hub.stream(&[("match_urlpattern", PATTERN)], &[]);
    let began = next(&mut watching);
    let id = began["subscriber"].as_str().unwrap();
    let path = format!("{PATH}/subscriptions/urlpattern/{ESCAPED}/{}", id.replace(':', "%3A"));
    let mut expected = json!({"id": path, "type": "subscription", "match_type": "urlpattern",
        "match": PATTERN, "subscriber": id, "active": true});
    assert_eq!(began, expected);
    drop(subscriber);
    expected["active"] = json!(false);
    assert_eq!(next(&mut watching), expected);
    assert_eq!(document(&hub, &format!("/urlpattern/{ESCAPED}"))["subscriptions"], json!([]));
}

#[test]
fn clients_without_a_token_learn_of_no_subscription() {
    let hub = hub_with_subscriptions();
    let mut anonymous = hub.stream(&[("match", "*")], &[]);
    hub.stream(&[("match", "a")], &[]);
    hub.publish(&[("topic", "a"), ("data", "open")]);
    assert_eq!(anonymous.data(1), ["open"]);
}

#[test]
fn the_payload_of_a_subscription_is_the_first_whose_topics_match_its_matcher() {
    let hub = hub_with_subscriptions();
    let token = with_payloads(&[
        ("https://example.com/foo", json!({"of": "foo"})),
        ("https://example.com/bar/:id", json!({"of": "bar"})),
        ("*", json!({"of": "all others"})),
    ]);
    let matchers = [
        ("match", "https://example.com/foo"),
        ("match_urlpattern", "https://example.com/bar/:id"),
        ("match", "elsewhere"),
    ];
    let _stream = hub.stream(&matchers, &[&token]);
    let all = document(&hub, "");
    let payloads = all["subscriptions"].as_array().unwrap().iter();
    let payloads: Vec<_> = payloads.map(|one| (&one["match"], &one["payload"]["of"])).collect();
    let expected = [
        (json!("elsewhere"), json!("all others")),
        (json!("https://example.com/foo"), json!("foo")),
        (json!("https://example.com/bar/:id"), json!("bar")),
    ];
    assert_eq!(payloads, expected.each_ref().map(|(text, payload)| (text, payload)));
    let mut malformed = detail(&["subscribe"], &["*"]);
    malformed["payload"] = json!("text");
    let malformed = bearer(&sign_one(&claims(&json!([malformed]))));
    assert_eq!(hub.refused(&[("match", "a")], &[&malformed]).status, 401);
}

#[test]
fn each_version_reports_its_own_subscriptions() {
    let hub = hub_with_subscriptions();
    let _zero = hub.stream(&[("topic", "of zero")], &[]);
    let _one = hub.stream(&[("match", "of one")], &[]);
    let names = |document: &Value, name: &str| {
        let all = document["subscriptions"].as_array().unwrap();
        all.iter().map(|one| one[name].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&document(&hub, ""), "match"), ["of one"]);
    let zero = ask_subscriptions(&hub, "", &[&with_zero(&json!({"subscribe": ["*"]}))]);
    assert_eq!(names(&zero.json(), "topic"), ["of zero"]);
}

#[test]
fn only_the_hub_publishes_events_of_its_type() {
    let hub = Hub::open(&["--mercure-subscriptions", "--anonymous", "publish"]);
    let mut watching = hub.stream(&[("match", "a")], &[]);
    hub.publish(&[("topic", "a"), ("type", "mercure"), ("data", "forged")]);
    post(hub.server.address, "/events/a?event=mercure", "forged");
    for _ in 0..2 {
        let event = watching.next().unwrap();
        assert_eq!((&*event.event_type, &*event.data), ("message", "forged"));
    }
}

#[test]
fn below_a_prefix_the_topics_have_the_path_of_the_public_url() {
    let hub = Hub::at(
        "https://hub.example/sse",
        &["--mercure-subscriptions", "--anonymous", "subscribe"],
    );
    let all = "/sse/.well-known/mercure/subscriptions{/*}?";
    let mut claims = claims(&json!([pattern_detail(&["subscribe"], &[all])]));
    claims["aud"] = json!([format!("https://hub.example/sse{PATH}"), "https://elsewhere.example"]);
    let token = bearer(&sign_one(&claims));
    let mut watching = hub.stream(&[("match_urlpattern", all)], &[&token]);
    let own = next(&mut watching);
    let id = own["id"].as_str().unwrap();
    assert!(id.starts_with("/sse/.well-known/mercure/subscriptions/urlpattern/"), "{id}");
    let answer = ask_subscriptions(&hub, "", &[&token]);
    assert_eq!(
        (answer.status, &answer.json()["id"]),
        (200, &json!(format!("/sse{PATH}/subscriptions")))
    );
    assert_eq!(answer.json()["subscriptions"], json!([own]));
}
