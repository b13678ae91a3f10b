//! The draft of 1.0: how refusals say what would be granted (RFC 6750, 9728).

use serde_json::json;

use crate::http::Answer;
use crate::mercure::fixture::{Hub, detail, with_one};

const METADATA: &str = "resource_metadata=\"https://hub.example/.well-known/oauth-protected-resource/.well-known/mercure\"";

#[track_caller]
fn check(answer: &Answer, status: u16, error: Option<&str>) {
    let challenge = answer.header("www-authenticate").unwrap();
    let expected = match error {
        None => format!("Bearer {METADATA}"),
        Some(error) => format!("Bearer error=\"{error}\", {METADATA}"),
    };
    assert_eq!((answer.status, challenge), (status, &*expected), "{}", answer.body);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.json()["status"], status);
}

#[test]
fn without_a_token_it_is_401_and_the_metadata_is_named() {
    let hub = Hub::closed(&[]);
    check(&hub.refused(&[("match", "a")], &[]), 401, None);
    check(&hub.post(&[("topic", "/a")], &[]), 401, None);
}

#[test]
fn with_a_bad_token_it_is_401_invalid_token_even_where_anonymous_clients_may() {
    let hub = Hub::open(&[]);
    check(
        &hub.refused(&[("match", "a")], &["Authorization: Bearer bad"]),
        401,
        Some("invalid_token"),
    );
    check(
        &hub.post(&[("topic", "/a")], &["Authorization: Bearer bad"]),
        401,
        Some("invalid_token"),
    );
    let cookie = "Cookie: __Secure-mercure_access_token=bad";
    check(&hub.refused(&[("match", "a")], &[cookie]), 401, Some("invalid_token"));
}

#[test]
fn without_a_grant_it_is_403_insufficient_scope() {
    let hub = Hub::closed(&[]);
    let token = with_one(&json!([detail(&["publish"], &["/a"])]));
    check(&hub.post(&[("topic", "/b")], &[&token]), 403, Some("insufficient_scope"));
    check(&hub.refused(&[("match", "a")], &[&token]), 403, Some("insufficient_scope"));
}

#[test]
fn a_header_that_is_not_one_bearer_is_400_invalid_request() {
    let hub = Hub::closed(&[]);
    let token = with_one(&json!([detail(&["subscribe"], &["/a"])]));
    check(&hub.refused(&[("match", "a")], &[&token, &token]), 400, Some("invalid_request"));
    check(
        &hub.refused(&[("match", "a")], &["Authorization: Basic YTpi"]),
        400,
        Some("invalid_request"),
    );
}
