//! 0.x: tokens.

use carafe_http::auth::Signer;
use serde_json::{Value, json};

use crate::http::{Answer, Stream, request};
use crate::mercure::fixture::{Hub, PATH, at, bearer, form, sign_zero, with_zero, zero};

const SECRET: (&str, &str) = ("data", "secret");

/// A stream that sees `a` by some token must see this.
#[track_caller]
fn sees_private(hub: &Hub, mut stream: Stream) {
    hub.publish(&[("topic", "a"), SECRET, ("private", "on")]);
    assert_eq!(stream.data(1), ["secret"]);
}

fn subscriber() -> String {
    zero(&json!({"subscribe": ["a"]}))
}

#[test]
fn a_token_is_in_the_header_or_the_query_or_a_cookie() {
    let hub = Hub::closed(&[]);
    let token = subscriber();
    sees_private(&hub, hub.stream(&[("topic", "a")], &[&bearer(&token)]));
    sees_private(&hub, hub.stream(&[("topic", "a"), ("authorization", &token)], &[]));
    sees_private(
        &hub,
        hub.stream(&[("topic", "a")], &[&format!("Cookie: x=y; mercureAuthorization={token}")]),
    );
}

#[test]
fn the_header_is_before_the_query_and_that_before_the_cookie() {
    let hub = Hub::closed(&[]);
    let good = subscriber();
    let (header, cookie) = (bearer(&good), format!("Cookie: mercureAuthorization={good}"));
    let (bad_header, bad_cookie) =
        ("Authorization: Bearer bad", "Cookie: mercureAuthorization=bad");
    let status = |query: &str, headers: &[&str]| {
        hub.refused(&[("topic", "a"), ("authorization", query)], headers).status
    };
    assert_eq!(status(&good, &[bad_header, &cookie]), 401);
    assert_eq!(status("bad", &[&cookie]), 401);
    hub.stream(&[("topic", "a"), ("authorization", "bad")], &[&header, bad_cookie]);
    hub.stream(&[("topic", "a"), ("authorization", &good)], &[bad_cookie]);
}

fn post_with_cookie(hub: &Hub, headers: &[&str]) -> Answer {
    let cookie = format!("Cookie: mercureAuthorization={}", zero(&json!({"publish": ["*"]})));
    hub.post(&[("topic", "a")], &[&[&*cookie], headers].concat())
}

#[test]
fn a_cookie_publishes_only_from_an_origin_or_referer_on_the_list() {
    let hub = Hub::closed(&["--allow-origin", "https://app.example,https://other.example:8443"]);
    for good in [
        "Origin: https://app.example",
        "Origin: https://other.example:8443",
        "Referer: https://app.example/some/page?x",
        "Referer: https://other.example:8443/",
    ] {
        assert_eq!(post_with_cookie(&hub, &[good]).status, 200, "{good}");
    }
    for bad in [
        "X-No: origin",
        "Origin: null",
        "Origin: http://app.example",
        "Origin: https://app.example.evil.example",
        "Origin: https://other.example",
        "Referer: https://evil.example/https://app.example",
        "Referer: https://app.example@evil.example/",
        "Referer: not a URL",
    ] {
        assert_eq!(post_with_cookie(&hub, &[bad]).status, 401, "{bad}");
    }
    let foreign_origin = ["Origin: https://evil.example", "Referer: https://app.example/"];
    assert_eq!(
        post_with_cookie(&hub, &foreign_origin).status,
        401,
        "an Origin counts before the Referer"
    );
}

#[test]
fn a_header_publishes_from_everywhere() {
    let hub = Hub::closed(&[]);
    let headers = [&*with_zero(&json!({"publish": ["*"]})), "Origin: https://evil.example"];
    assert_eq!(hub.post(&[("topic", "a")], &headers).status, 200);
}

#[test]
fn publishing_by_the_query_is_possible_in_0() {
    let hub = Hub::closed(&[]);
    let query = form(&[("authorization", &zero(&json!({"publish": ["*"]})))]);
    let headers = ["Content-Type: application/x-www-form-urlencoded"];
    let answer =
        request(hub.server.address, "POST", &format!("{PATH}?{query}"), &headers, b"topic=a");
    assert_eq!(answer.status, 200);
}

#[test]
fn the_claim_has_two_names() {
    let hub = Hub::closed(&[]);
    for claim in ["mercure", "https://mercure.rocks/"] {
        let token = sign_zero(&json!({ claim: {"publish": ["*"]} }));
        assert_eq!(hub.post(&[("topic", "a")], &[&bearer(&token)]).status, 200, "{claim}");
    }
    let other = sign_zero(&json!({"https://mercure.example/": {"publish": ["*"]}}));
    assert_eq!(hub.post(&[("topic", "a")], &[&bearer(&other)]).status, 401);
}

#[test]
fn entries_are_selectors_as_in_subscriptions() {
    let hub = Hub::closed(&[]);
    let cases: &[(&[&str], &str, u16)] = &[
        (&["*"], "https://example.com/1", 200),
        (&["https://example.com/1"], "https://example.com/1", 200),
        (&["https://example.com/1"], "https://example.com/2", 401),
        (&["https://example.com/{id}"], "https://example.com/2", 200),
        (&["https://example.com/{id}"], "https://example.com/2/3", 401),
        (&["https://example.com/{id}"], "https://example.com/{id}", 200),
        (&["a", "b{/c}"], "b/1", 200),
        // None of these is any topic, nor do they stand in the way of others.
        (&["", "a/../b", "c"], "c", 200),
        (&["", "a/../b"], "c", 401),
    ];
    for (selectors, topic, status) in cases {
        let answer = hub.post(&[("topic", topic)], &[&with_zero(&json!({ "publish": selectors }))]);
        assert_eq!(answer.status, *status, "{selectors:?} {topic}");
    }
}

#[test]
fn an_update_needs_a_grant_for_each_of_its_topics() {
    let hub = Hub::closed(&[]);
    let token = with_zero(&json!({"publish": ["a", "b"]}));
    assert_eq!(hub.post(&[("topic", "a"), ("topic", "b")], &[&token]).status, 200);
    assert_eq!(hub.post(&[("topic", "a"), ("topic", "c")], &[&token]).status, 401);
    assert_eq!(
        hub.post(&[("topic", "a"), ("topic", "c"), ("private", "on")], &[&token]).status,
        401
    );
}

#[test]
fn neither_exp_nor_aud_nor_typ_is_needed_and_exp_and_nbf_count() {
    let hub = Hub::closed(&[]);
    let publish = |more: Value| {
        let mut claims = json!({"mercure": {"publish": ["*"]}});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        hub.post(&[("topic", "a")], &[&bearer(&sign_zero(&claims))]).status
    };
    assert_eq!(publish(json!({})), 200);
    assert_eq!(publish(json!({"aud": "elsewhere", "exp": at(60)})), 200);
    assert_eq!(publish(json!({"exp": at(-60)})), 401);
    assert_eq!(publish(json!({"exp": "tomorrow"})), 401);
    assert_eq!(publish(json!({"nbf": at(60)})), 401);
}

#[test]
fn publish_empty_grants_nothing_and_absent_is_401() {
    let hub = Hub::closed(&[]);
    for claim in
        [json!({"publish": []}), json!({"subscribe": ["*"]}), json!({}), json!({"publish": null})]
    {
        assert_eq!(hub.post(&[("topic", "a")], &[&with_zero(&claim)]).status, 401, "{claim}");
    }
}

#[test]
fn a_token_without_subscribe_grants_no_more_than_anonymous_clients_have() {
    let token = with_zero(&json!({"publish": ["*"]}));
    assert_eq!(Hub::closed(&[]).refused(&[("topic", "a")], &[&token]).status, 401);
    Hub::open(&[]).stream(&[("topic", "a")], &[&token]);
    let empty = with_zero(&json!({"subscribe": []}));
    Hub::closed(&[]).stream(&[("topic", "a")], &[&empty]);
}

#[test]
fn all_that_is_wrong_with_a_token_is_401() {
    let hub = Hub::open(&[]);
    let foreign = Signer::secret(b"another secret of more than thirty-two bytes").unwrap();
    let foreign =
        foreign.sign(&json!({"mercure": {"publish": ["*"], "subscribe": ["*"]}})).unwrap();
    let of_one = crate::mercure::fixture::with_one(&json!([]));
    for header in [
        bearer("not a token"),
        bearer(""),
        bearer(&foreign),
        "Authorization: Basic YTpi".into(),
        of_one,
        bearer(&sign_zero(&json!({"mercure": "all"}))),
        with_zero(&json!({"publish": "*", "subscribe": ["*"]})),
        with_zero(&json!({"publish": ["*"], "subscribe": "*"})),
        with_zero(&json!({"publish": [1], "subscribe": [{}]})),
        with_zero(&json!({"publish": ["{a:999}"], "subscribe": ["*"]})),
    ] {
        let answer = hub.refused(&[("topic", "a")], &[&header]);
        assert_eq!(
            answer.status, 401,
            "{header}, even where clients without a token may subscribe"
        );
        assert!(
            answer.header("www-authenticate").unwrap().starts_with("Bearer error="),
            "{}",
            answer.head
        );
    }
    assert_eq!(hub.post(&[("topic", "a")], &[&bearer(&foreign)]).status, 401);
    assert_eq!(hub.post(&[("topic", "a")], &[]).status, 401);
    assert_eq!(Hub::closed(&[]).refused(&[("topic", "a")], &[]).status, 401);
}

#[test]
fn a_stream_ends_when_its_token_does() {
    let hub = Hub::closed(&[]);
    let token = sign_zero(&json!({"mercure": {"subscribe": ["a"]}, "exp": at(2)}));
    let mut stream = hub.stream(&[("topic", "a")], &[&bearer(&token)]);
    assert_eq!(stream.next(), None, "and only comments are sent");
    assert_eq!(hub.refused(&[("topic", "a")], &[&bearer(&token)]).status, 401);
}
