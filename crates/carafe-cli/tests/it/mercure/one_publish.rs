//! The draft of 1.0: publishing.

use serde_json::json;

use crate::mercure::fixture::{Hub, detail, pattern_detail, with_one};

fn publisher() -> String {
    with_one(&json!([pattern_detail(&["publish"], &["*"])]))
}

#[test]
fn an_update_is_published_as_in_0() {
    let hub = Hub::open(&[]);
    let mut stream = hub.stream(&[("match", "/a")], &[]);
    let answer = hub
        .post(&[("topic", "/a"), ("data", "1"), ("id", "urn:x"), ("type", "t")], &[&publisher()]);
    assert_eq!((answer.status, answer.body.as_str()), (200, "urn:x"));
    assert!(answer.header("content-type").unwrap().starts_with("text/plain"));
    let event = stream.next().unwrap();
    assert_eq!(
        (event.last_event_id.as_str(), event.event_type.as_str(), event.data.as_str()),
        ("urn:x", "t", "1")
    );
    assert!(hub.post(&[("topic", "/a")], &[&publisher()]).body.starts_with("urn:uuid:"));
}

#[test]
fn what_cannot_be_an_update_is_400() {
    let hub = Hub::open(&[]);
    let cases: &[&[(&str, &str)]] = &[
        &[("data", "x")],
        &[("topic", "*")],
        &[("topic", "/a"), ("topic", "*")],
        &[("topic", "https://hub.example/.well-known/mercure")],
        &[("topic", "/.well-known/mercure")],
        &[("topic", "/.well-known/mercure/subscriptions/a/b")],
        &[("topic", "http://other.example/.well-known/%6Dercure/subscriptions/a/b")],
        &[("topic", "mercure")],
        &[("topic", "?")],
        &[("topic", "/a"), ("id", "#1")],
        &[("topic", "/a"), ("id", "earliest")],
        &[("topic", "/a"), ("type", "mercure")],
        &[("topic", "/a\u{200b}")],
        &[("topic", "/a\n")],
        &[("topic", "/a"), ("id", "1\u{feff}")],
        &[("topic", "/a"), ("id", "1\0")],
        &[("topic", "/a"), ("type", "t\u{202e}")],
        &[("topic", "/a"), ("type", "t\t")],
    ];
    let token = publisher();
    for fields in cases {
        assert_eq!(hub.post(fields, &[&token]).status, 400, "{fields:?}");
    }
    let form = "Content-Type: application/x-www-form-urlencoded";
    assert_eq!(hub.ask("POST", "", &[form, &token], "topic=/a&data=%ff").status, 400);
    assert_eq!(
        hub.ask("POST", "", &[form, &token], "topic=/a&data=%00%0a").status,
        200,
        "data is free"
    );
}

#[test]
fn too_much_is_413() {
    let hub = Hub::open(&["--event-bytes", "1KiB"]);
    let token = publisher();
    let post =
        |bytes: usize| hub.post(&[("topic", "/a"), ("data", &"&".repeat(bytes))], &[&token]).status;
    assert_eq!([post(1024), post(1025), post(100_000)], [200, 413, 413]);
    let long = "/".repeat(1025);
    assert_eq!(hub.post(&[("topic", &long)], &[&token]).status, 413);
    let many: Vec<_> = (0..1001).map(|number| format!("/{number}")).collect();
    let many: Vec<_> = many.iter().map(|topic| ("topic", topic.as_str())).collect();
    assert_eq!(hub.post(&many, &[&token]).status, 413);
}

#[test]
fn publishing_needs_a_grant_on_every_topic() {
    let hub = Hub::open(&[]);
    let token = with_one(&json!([
        detail(&["publish"], &["/a"]),
        detail(&["subscribe", "publish"], &["/b"])
    ]));
    let status = |topics: &[&str], token: &str| {
        let topics: Vec<_> = topics.iter().map(|topic| ("topic", *topic)).collect();
        hub.post(&topics, &[token]).status
    };
    assert_eq!(status(&["/a", "/b"], &token), 200);
    assert_eq!(status(&["/a", "/c"], &token), 403);
    let only_subscribes = with_one(&json!([detail(&["subscribe"], &["/a"])]));
    assert_eq!(status(&["/a"], &only_subscribes), 403);
    let pattern = with_one(&json!([pattern_detail(&["publish"], &["/books/:id"])]));
    assert_eq!([status(&["/books/1"], &pattern), status(&["/books/1/2"], &pattern)], [200, 403]);
    assert_eq!(status(&["https://hub.example/books/1"], &pattern), 200, "it is the same URL");
}
