//! A hub whose public URL has a path, which a proxy removes.

use serde_json::{Value, json};

use crate::http::{get, post};
use crate::mercure::fixture::{Hub, bearer, claims, detail, sign_one, with_zero};
use crate::process::carafe;

const RESOURCE: &str = "https://hub.example/sse/.well-known/mercure";

fn hub() -> Hub {
    Hub::at("https://hub.example/sse/", &["--anonymous", "subscribe,publish"])
}

/// The header with a token of 1.0 for this hub.
fn with_token(details: &Value) -> String {
    let mut claims = claims(details);
    // The key requires an audience of its own.
    claims["aud"] = json!([RESOURCE, "https://elsewhere.example"]);
    bearer(&sign_one(&claims))
}

#[test]
fn the_resource_of_tokens_and_metadata_has_the_path() {
    let hub = hub();
    for path in ["/sse/.well-known/mercure", "/.well-known/mercure"] {
        let path = format!("/.well-known/oauth-protected-resource{path}");
        assert_eq!(get(hub.server.address, &path).json()["resource"], RESOURCE, "{path}");
    }
    let everything = json!([detail(&["subscribe", "publish"], &["*"])]);
    hub.stream(&[("match", "a")], &[&with_token(&everything)]);
    let without_path = bearer(&sign_one(&claims(&everything)));
    let refused = hub.refused(&[("match", "a")], &[&without_path]);
    assert_eq!(refused.status, 401);
    let challenge = refused.header("www-authenticate").unwrap();
    let metadata =
        "https://hub.example/.well-known/oauth-protected-resource/sse/.well-known/mercure";
    assert!(challenge.contains(&format!("resource_metadata=\"{metadata}\"")), "{challenge}");
}

#[test]
fn relative_patterns_are_relative_to_the_url_with_the_path() {
    let hub = hub();
    let mut stream = hub.stream(&[("match_urlpattern", "books/:id")], &[]);
    for topic in
        ["https://hub.example/.well-known/books/1", "https://hub.example/sse/.well-known/books/2"]
    {
        hub.publish(&[("topic", topic), ("data", topic)]);
    }
    assert_eq!(stream.data(1), ["https://hub.example/sse/.well-known/books/2"]);
}

#[test]
fn nobody_publishes_subscription_events_below_either_path() {
    let hub = hub();
    let tokens =
        [with_zero(&json!({"publish": ["*"]})), with_token(&json!([detail(&["publish"], &["*"])]))];
    for topic in [
        "/sse/.well-known/mercure/subscriptions/exact/a/b",
        "/.well-known/mercure/subscriptions/a/b",
        "https://other.example/s%73e/.well-known/mercure/subscriptions",
    ] {
        for token in &tokens {
            let answer = hub.post(&[("topic", topic), ("data", "forged")], &[token]);
            assert_eq!(answer.status, 400, "{topic}: {}", answer.body);
        }
        let target = format!("/events?topic={}", topic.replace('%', "%25"));
        assert_eq!(post(hub.server.address, &target, "forged").status, 403, "{topic}");
    }
}

#[test]
fn a_public_url_is_a_url_and_perhaps_a_path() {
    for url in [
        "hub.example",
        "ftp://hub.example",
        "https://hub.example/?a",
        "https://hub.example/#a",
        "https://user@hub.example/",
        "https://hub.example/{a}",
    ] {
        let output = carafe().args(["serve", "--public-url", url]).output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && words.contains("--public-url"), "{url}: {words}");
    }
}
