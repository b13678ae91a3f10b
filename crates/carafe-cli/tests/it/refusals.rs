//! What the hub refuses, and in which words.

use std::io::{Read, Write};

use crate::http::{self, Answer, Stream, get, post, publish, request, send};
use crate::process::Server;

fn hub() -> Server {
    Server::start(&["--event-bytes", "1KiB", "--batch-bytes", "4KiB", "--body-timeout", "200ms"])
}

/// The answer is a problem document of this kind, and its detail says `what`.
#[track_caller]
fn check(answer: &Answer, status: u16, kind: &str, what: &str) {
    assert_eq!(answer.status, status, "{}{}", answer.head, answer.body);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let problem = answer.json();
    assert_eq!(problem["type"], format!("urn:carafe:problem:{kind}"));
    assert_eq!(problem["status"], status);
    assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(what), "{detail}");
}

#[test]
fn an_unknown_path_is_not_found() {
    let hub = hub();
    for path in ["/nope", "/event", "/events.json", "/console.js"] {
        check(&get(hub.address, path), 404, "not-found", "streams and topics are under /events");
    }
}

#[test]
fn a_wrong_method_is_rejected_with_the_allowed_ones() {
    let hub = hub();
    for (method, path, allow) in [
        ("PUT", "/events/a", "DELETE, GET, HEAD, POST"),
        ("DELETE", "/events", "GET, HEAD, POST"),
        ("POST", "/healthz", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
    ] {
        let answer = request(hub.address, method, path, &[], b"");
        check(&answer, 405, "wrong-method", allow);
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
}

#[test]
fn a_bad_topic_is_refused() {
    let hub = hub();
    let long = "x".repeat(1025);
    for topic in ["", "a/../b", "a/%2E%2E/b", "a%0Ab", "a%00b", &long] {
        check(&post(hub.address, &format!("/events/{topic}"), "x"), 400, "bad-topic", "");
        check(&get(hub.address, &format!("/events?topic={topic}")), 400, "bad-topic", "");
    }
}

#[test]
fn a_byte_order_mark_in_a_topic_or_pattern_is_refused_wherever_it_is_named() {
    let hub = hub();
    for topic in ["%EF%BB%BFa", "a%EF%BB%BF"] {
        check(
            &post(hub.address, &format!("/events/{topic}"), "x"),
            400,
            "bad-topic",
            "byte order mark",
        );
        check(
            &post(hub.address, &format!("/events/a?topic={topic}"), "x"),
            400,
            "bad-topic",
            "U+FEFF",
        );
        check(
            &get(hub.address, &format!("/events?topic={topic}")),
            400,
            "bad-topic",
            "byte order mark",
        );
        check(
            &get(hub.address, &format!("/events?pattern={topic}/*")),
            400,
            "bad-pattern",
            "byte order mark",
        );
    }
    for line in
        ["{\"topic\":\"\u{feff}a\",\"data\":\"x\"}", "{\"topic\":\"a\\ufeff\",\"data\":\"x\"}"]
    {
        check(&ndjson(&hub, line), 400, "bad-topic", "byte order mark");
    }
}

#[test]
fn a_bad_pattern_is_refused() {
    let hub = hub();
    for pattern in ["orders/(", "{", "a/:", "%00", "(%3F%3Cx", &"x".repeat(2000)] {
        check(&get(hub.address, &format!("/events?pattern={pattern}")), 400, "bad-pattern", "");
    }
}

#[test]
fn text_that_is_not_utf_8_is_refused() {
    let hub = hub();
    check(&get(hub.address, "/events/%FF"), 400, "bad-utf-8", "UTF-8");
    check(&get(hub.address, "/events?topic=%C3%28"), 400, "bad-utf-8", "UTF-8");
    check(&request(hub.address, "POST", "/events/a", &[], b"\xff\xfe"), 400, "bad-utf-8", "base64");
}

#[test]
fn bad_parameters_are_refused_by_name() {
    let hub = hub();
    for query in [
        "retry=soon",
        "retry=-1",
        "retry=%2B1",
        "retry=1e3",
        "retry=99999999999999999999",
        "retry=",
    ] {
        check(
            &post(hub.address, &format!("/events/a?{query}"), "x"),
            400,
            "bad-parameter",
            "`retry`",
        );
    }
    for (query, what) in [
        ("last=all", "`last`"),
        ("envelope=xml", "envelope=json"),
        ("earliest=maybe", "`earliest`"),
        ("last=1&last=2", "more than once"),
        ("tpoic=a", "did you mean `topic`?"),
        ("control=none", "control=comments"),
        ("on_gap=never", "on_gap=live"),
        ("heartbeat=off", "heartbeat=event:20s"),
        ("heartbeat=0s", "heartbeat=event:20s"),
    ] {
        check(&get(hub.address, &format!("/events/a?{query}")), 400, "bad-parameter", what);
    }
    check(&post(hub.address, "/events/a?private=perhaps", "x"), 400, "bad-parameter", "`private`");
    check(&post(hub.address, "/events/a?id=", "x"), 400, "bad-id", "idempotency key");
}

#[test]
fn a_type_that_could_forge_a_field_or_is_the_hubs_own_is_refused() {
    let hub = hub();
    for event in ["a%0Adata:forged", "a%0D", "", "carafe.position", "carafe.mine"] {
        check(
            &post(hub.address, &format!("/events/a?event={event}"), "x"),
            400,
            "bad-event-type",
            "",
        );
    }
}

#[test]
fn data_over_the_limit_is_refused_and_data_at_the_limit_is_not() {
    let hub = hub();
    assert_eq!(post(hub.address, "/events/a", &"x".repeat(1024)).status, 201);
    check(&post(hub.address, "/events/a", &"x".repeat(1025)), 413, "too-large", "1024 bytes");
    let endless = "POST /events/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    let answer = send(hub.address, [endless, &chunk, &chunk, "0\r\n\r\n"].concat().as_bytes());
    check(&answer, 413, "too-large", "1024 bytes");
}

#[test]
fn a_batch_with_a_bad_line_stores_nothing_and_names_the_line() {
    let hub = hub();
    let good = "{\"topic\":\"a\",\"data\":\"x\"}\n";
    let large = format!("{{\"topic\":\"a\",\"data\":\"{}\"}}", "x".repeat(1025));
    for (bad, status, kind) in [
        ("{", 400, "bad-line"),
        ("[]", 400, "bad-line"),
        ("{\"topic\":\"a\"}", 400, "bad-line"),
        ("{\"topic\":\"a\",\"data\":\"x\",\"typo\":1}", 400, "bad-line"),
        ("{\"topic\":\"\",\"data\":\"x\"}", 400, "bad-topic"),
        ("{\"topic\":\"a\",\"data\":\"x\",\"retry\":-1}", 400, "bad-line"),
        ("{\"topic\":\"a\",\"data\":\"x\",\"event\":\"a\\nb\"}", 400, "bad-event-type"),
        ("{\"topic\":\"a\",\"data\":\"x\",\"id\":\"\"}", 400, "bad-id"),
        (&large, 413, "too-large"),
    ] {
        let body = format!("{good}\n{bad}\n{good}");
        let answer = ndjson(&hub, &body);
        check(&answer, status, kind, "line 3: ");
        assert_eq!(answer.json()["line"], 3);
        assert!(
            answer.json()["detail"].as_str().unwrap().ends_with("nothing of the batch was stored")
        );
    }
    check(&ndjson(&hub, "\n\n"), 400, "bad-line", "the batch is empty");
    check(&ndjson(&hub, &good.repeat(200)), 413, "too-large", "4096 bytes");
    // The reserved type is found when the lines are good, and none of them is stored either.
    let reserved = format!("{good}{{\"topic\":\"a\",\"data\":\"x\",\"event\":\"carafe.end\"}}");
    check(&ndjson(&hub, &reserved), 400, "bad-event-type", "reserved");
    publish(hub.address, "/events/a", "the only one");
    assert_eq!(Stream::open(hub.address, "/events?earliest", &[]).data(1), ["the only one"]);
}

fn ndjson(hub: &Server, body: &str) -> Answer {
    request(
        hub.address,
        "POST",
        "/events",
        &["Content-Type: application/x-ndjson"],
        body.as_bytes(),
    )
}

#[test]
fn a_post_without_topic_and_batch_is_rejected_with_both_alternatives() {
    let hub = hub();
    check(&post(hub.address, "/events", "x"), 415, "no-topic", "post to /events/{topic}");
}

#[test]
fn too_many_matchers_are_refused() {
    let hub = hub();
    let query: String = (0..101).map(|number| format!("topic={number}&")).collect();
    let answer = get(hub.address, &format!("/events?{}", query.trim_end_matches('&')));
    check(&answer, 400, "too-many-matchers", "100 topics and patterns at most");
}

#[test]
fn clients_without_a_token_may_do_only_what_is_allowed() {
    let reading = Server::anonymous("subscribe");
    check(&post(reading.address, "/events/a", "x"), 403, "forbidden", "may be published to");
    Stream::open(reading.address, "/events/a", &[]);
    let writing = Server::anonymous("publish");
    check(&get(writing.address, "/events/a"), 403, "forbidden", "may be subscribed to");
    check(
        &request(writing.address, "GET", "/events", &[], b""),
        403,
        "forbidden",
        "may be subscribed to",
    );
    assert_eq!(post(writing.address, "/events/a", "x").status, 201);
}

#[test]
fn a_body_that_does_not_arrive_is_rejected_in_time() {
    let hub = hub();
    let head = "POST /events/a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc";
    check(&send(hub.address, head.as_bytes()), 408, "body-timeout", "did not arrive in time");
}

#[test]
fn a_head_that_does_not_arrive_ends_the_connection_in_time() {
    let hub = Server::start(&["--header-timeout", "200ms"]);
    let mut socket = http::connect(hub.address);
    socket.write_all(b"GET /events/a HTTP/1.1\r\nHo").unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn a_head_that_is_no_http_or_too_long_is_rejected_without_effect_on_others() {
    let hub = hub();
    let mut other = Stream::open(hub.address, "/events/a", &[]);
    let long = format!("GET /events/a HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    for (bytes, statuses) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00"[..], &[400][..]),
        (b"GET / HTTP/9.9\r\n\r\n", &[400]),
        (b"GET /events/a HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", &[400]),
        (long.as_bytes(), &[431]),
    ] {
        let answer = send(hub.address, bytes);
        assert!(
            statuses.contains(&answer.status),
            "{} to {:?}",
            answer.status,
            String::from_utf8_lossy(&bytes[..7])
        );
    }
    publish(hub.address, "/events/a", "still here");
    assert_eq!(other.data(1), ["still here"]);
}

/// Whatever bytes are published, each other client gets one event with exactly these.
#[test]
fn nothing_that_is_published_reaches_another_client_as_a_field() {
    let hub = hub();
    let mut stream = Stream::open(hub.address, "/events/a", &[]);
    for data in [
        "x\n\ndata: forged",
        "x\r\revent: forged\r\n\r\n",
        "\nid: forged\n",
        ": no comment",
        " leading",
        "",
        "\u{feff}bom",
        "retry: 1",
        "nul \0 \u{2028} \u{85}",
    ] {
        publish(hub.address, "/events/a", data);
        let normalised = data.replace("\r\n", "\n").replace('\r', "\n");
        assert_eq!(stream.data(1), [normalised]);
    }
}

#[test]
fn dev_answers_only_this_machines_own_pages_and_programs() {
    let hub = Server::dev();
    let own = format!("Origin: http://{}", hub.address);
    let publish = |headers: &[&str]| request(hub.address, "POST", "/events/a", headers, b"x");
    assert_eq!(publish(&[]).status, 201);
    assert_eq!(publish(&[&own]).status, 201);
    assert_eq!(publish(&["Host: localhost:3000", "Origin: http://localhost:3000"]).status, 201);
    for headers in [
        &["Host: rebound.example.com"][..],
        &["Host: 192.168.1.2:3000"],
        &["Host: "],
        &["Origin: https://example.com"],
        &["Origin: null"],
        &["Origin: http://127.0.0.1:1"],
        &["Origin: http://127.0.0.1.example.com"],
    ] {
        check(&publish(headers), 403, "not-loopback", "");
        check(&request(hub.address, "GET", "/", headers, b""), 403, "not-loopback", "");
        check(&request(hub.address, "GET", "/events/a", headers, b""), 403, "not-loopback", "");
    }
}
