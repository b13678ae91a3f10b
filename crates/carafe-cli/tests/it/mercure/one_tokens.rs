//! The draft of 1.0: tokens.

use carafe_http::auth::{Algorithm, Signer};
use serde_json::{Value, json};

use crate::http::request;
use crate::mercure::fixture::{
    Hub, ISSUER, PATH, RESOURCE, at, bearer, claims, detail, form, sign_one, with_one, with_zero,
};

fn everything() -> Value {
    json!([{
        "type": "https://mercure.rocks/authorization-detail",
        "actions": ["publish", "subscribe"],
        "topics": [{"match": "*", "match_type": "urlpattern"}],
    }])
}

/// What a publisher and a subscriber are answered by this header.
#[track_caller]
fn check(hub: &Hub, header: &str, expected: u16, what: &str) {
    assert_eq!(hub.post(&[("topic", "/a")], &[header]).status, expected, "publish: {what}");
    let head = request(hub.server.address, "HEAD", &format!("{PATH}?match=a"), &[header], b"");
    assert_eq!(head.status, expected, "subscribe: {what}");
}

/// The claims of a good token, with some of them set, or taken out where they are null.
fn changed(changes: &Value) -> String {
    let mut claims = claims(&everything());
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    bearer(&sign_one(&claims))
}

#[test]
fn every_claim_that_has_to_be_there_is_looked_at() {
    let hub = Hub::open(&[]);
    check(&hub, &changed(&json!({})), 200, "as it has to be");
    let good = [json!({"aud": [RESOURCE, "x"]}), json!({"nbf": at(-60)})];
    for good in good {
        check(&hub, &changed(&good.clone()), 200, &good.to_string());
    }
    let bad = [
        json!({"iss": null}),
        json!({"iss": "https://other.example"}),
        json!({"aud": null}),
        json!({"aud": "https://other.example"}),
        // The key is for that, too, but this hub is not.
        json!({"aud": "https://elsewhere.example"}),
        json!({"aud": [1]}),
        json!({"exp": null}),
        json!({"exp": at(-1)}),
        json!({"exp": at(600).to_string()}),
        json!({"nbf": at(60)}),
    ];
    for bad in bad {
        check(&hub, &changed(&bad.clone()), 401, &bad.to_string());
    }
}

#[test]
fn the_type_the_algorithm_and_the_key_are_those_of_the_issuer() {
    let hub = Hub::open(&[]);
    let claims = claims(&everything());
    let one = || Signer::secret(b"a secret of more than thirty-two bytes: 1").unwrap();
    let zero = || Signer::secret(b"a secret of more than thirty-two bytes: 0").unwrap();
    let check = |signer: Signer, expected, what| {
        check(&hub, &bearer(&signer.sign(&claims).unwrap()), expected, what);
    };
    check(one().with_type("at+jwt"), 200, "as it has to be");
    check(one().with_type("application/at+jwt"), 200, "the long form");
    check(one(), 401, "JWT");
    check(one().with_type("dpop+jwt"), 401, "another type");
    check(
        one().with_type("at+jwt").with_algorithm(Algorithm::HS512).unwrap(),
        401,
        "another algorithm",
    );
    check(Signer::secret([7; 32]).unwrap().with_type("at+jwt"), 401, "a foreign key");
    assert_eq!(
        hub.refused(
            &[("match", "a")],
            &[&bearer(&zero().with_type("at+jwt").sign(&claims).unwrap())]
        )
        .status,
        401
    );
}

#[test]
fn what_the_key_of_0_has_signed_grants_nothing_in_1() {
    let hub = Hub::closed(&[]);
    let lax = with_zero(&json!({"publish": ["*"], "subscribe": ["*"]}));
    assert_eq!(hub.refused(&[("match", "a")], &[&lax]).status, 401);
    let strict = with_one(&everything());
    assert_eq!(hub.refused(&[("topic", "a")], &[&strict]).status, 401);
}

#[test]
fn one_bearer_in_the_header_is_before_the_cookie_and_none_is_in_the_query() {
    let hub = Hub::closed(&[]);
    let token = sign_one(&claims(&everything()));
    let cookie = format!("Cookie: __Secure-mercure_access_token={token}");
    hub.stream(&[("match", "a")], &[&bearer(&token)]);
    hub.stream(&[("match", "a")], &[&cookie]);
    assert_eq!(hub.refused(&[("match", "a")], &["Authorization: Bearer bad", &cookie]).status, 401);
    for parameter in ["authorization", "access_token"] {
        assert_eq!(
            hub.refused(&[("match", "a"), (parameter, &token)], &[]).status,
            401,
            "{parameter}"
        );
        let query = format!("?{}", form(&[(parameter, &token)]));
        let answer = hub.ask(
            "POST",
            &query,
            &["Content-Type: application/x-www-form-urlencoded"],
            "topic=/a",
        );
        assert_eq!(answer.status, 401, "{parameter}");
    }
    let old_cookie = format!("Cookie: mercureAuthorization={token}");
    assert_eq!(hub.refused(&[("match", "a")], &[&old_cookie]).status, 401);
}

#[test]
fn a_cookie_publishes_only_from_an_origin_on_the_list() {
    let hub = Hub::closed(&["--allow-origin", "https://app.example"]);
    let cookie =
        format!("Cookie: __Secure-mercure_access_token={}", sign_one(&claims(&everything())));
    let post =
        |headers: &[&str]| hub.post(&[("topic", "/a")], &[&[&*cookie], headers].concat()).status;
    assert_eq!(post(&["Origin: https://app.example"]), 200);
    assert_eq!(post(&["Origin: https://evil.example"]), 401);
    assert_eq!(post(&[]), 401);
}

#[test]
fn details_of_other_types_are_passed_over_and_one_bad_entry_is_401() {
    let hub = Hub::open(&[]);
    let ours = |more: Value| {
        let mut detail = detail(&["publish", "subscribe"], &["/a"]);
        detail.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        detail
    };
    let with = |detail: Value| with_one(&json!([ours(json!({})), detail]));
    check(&hub, &with(json!({"type": "payment", "actions": 7})), 200, "another type");
    check(&hub, &with(ours(json!({"payload": {"a": 1}, "unknown": true}))), 200, "more");
    check(&hub, &with(ours(json!({"actions": ["publish", "delete"]}))), 200, "another action");
    for bad in [
        json!({"actions": ["publish"], "topics": [{"match": "/a"}]}),
        json!("text"),
        ours(json!({"actions": []})),
        ours(json!({"actions": "publish"})),
        ours(json!({"actions": ["publish", 7]})),
        ours(json!({"topics": []})),
        ours(json!({"topics": ["/a"]})),
        ours(json!({"topics": [{"match": 1}]})),
        ours(json!({"topics": [{"match": ""}]})),
        ours(json!({"topics": [{"match": "/a", "match_type": "template"}]})),
        ours(json!({"topics": [{"match": "/a", "match_type": null}]})),
        ours(json!({"topics": [{"match": "/a{", "match_type": "urlpattern"}]})),
        ours(json!({"topics": [{"match": "/a\u{200b}"}]})),
    ] {
        check(&hub, &with(bad.clone()), 401, &bad.to_string());
    }
    check(&hub, &changed(&json!({"authorization_details": {}})), 401, "no array");
}

#[test]
fn there_are_a_hundred_details_and_a_hundred_topics_at_most() {
    let hub = Hub::open(&[]);
    let details = |count: usize| {
        Value::Array(
            vec![json!({"type": "x"}); count - 1]
                .into_iter()
                .chain([detail(&["publish", "subscribe"], &["/a"])])
                .collect(),
        )
    };
    let topics = |count: usize| json!([detail(&["publish", "subscribe"], &vec!["/a"; count])]);
    check(&hub, &with_one(&details(100)), 200, "100 details");
    check(&hub, &with_one(&details(101)), 401, "101 details");
    check(&hub, &with_one(&topics(100)), 200, "100 topics");
    check(&hub, &with_one(&topics(101)), 401, "101 topics");
}

#[test]
fn a_token_that_grants_nothing_subscribes_only_where_anonymous_clients_may() {
    let nothing = with_one(&json!([]));
    assert_eq!(Hub::closed(&[]).refused(&[("match", "a")], &[&nothing]).status, 403);
    Hub::open(&[]).stream(&[("match", "a")], &[&nothing]);
}

#[test]
fn a_stream_ends_when_its_token_does() {
    let hub = Hub::closed(&[]);
    let mut claims = claims(&everything());
    claims["exp"] = json!(at(2));
    let mut stream = hub.stream(&[("match", "a")], &[&bearer(&sign_one(&claims))]);
    assert_eq!(stream.next(), None);
    assert_eq!(claims["iss"], ISSUER);
}
