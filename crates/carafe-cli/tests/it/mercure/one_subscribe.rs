//! The draft of 1.0: subscribing.

use crate::http::{Stream, header, request};
use crate::mercure::fixture::{Hub, PATH, RESOURCE, form, ids};

#[test]
fn match_is_exact_and_urlpattern_is_a_url_pattern_relative_to_the_hub() {
    let hub = Hub::open(&[]);
    let all = [
        "https://hub.example/books/1",
        "/books/2",
        "https://example.com/books/3",
        "chapters/4",
        "https://hub.example/.well-known/chapters/5",
        "https://example.com/{id}",
    ];
    for topic in all {
        hub.publish(&[("topic", topic), ("data", topic)]);
    }
    type Pairs = &'static [(&'static str, &'static str)];
    let cases: &[(Pairs, &[&str])] = &[
        (&[("match", "/books/2")], &all[1..2]),
        (&[("match_exact", "/books/2")], &all[1..2]),
        (&[("match", "https://hub.example/books/1")], &all[..1]),
        (&[("match", "https://example.com/{id}")], &all[5..]),
        (&[("match_urlpattern", "/books/:id")], &all[..2]),
        (&[("match_urlpattern", "https://hub.example/books/:id")], &all[..2]),
        (&[("match_urlpattern", "https://*/books/:id")], &all[..3]),
        (&[("match_urlpattern", "chapters/:id")], &all[3..5]),
        (&[("match_urlpattern", "/books/([3-9])")], &[]),
        (&[("match_urlpattern", "*")], &all),
        (&[("match", "/books/2"), ("match_urlpattern", "chapters/4")], &[all[1], all[3]]),
        (&[("match", "*")], &all),
        (&[("match_exact", "*")], &all),
    ];
    for (asked, expected) in cases {
        let mut stream =
            hub.stream(&[*asked, &[("last_event_id", "earliest"), ("match", "end")]].concat(), &[]);
        hub.publish(&[("topic", "end"), ("data", "end")]);
        let data = std::iter::from_fn(|| stream.next())
            .map(|event| event.data)
            .take_while(|data| data != "end");
        assert_eq!(data.collect::<Vec<_>>(), *expected, "{asked:?}");
    }
}

#[test]
fn an_invalid_subscription_is_400() {
    let hub = Hub::open(&[]);
    let long = "x".repeat(4097);
    let hundred: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    let hundred: Vec<_> = hundred.iter().map(|topic| ("match", topic.as_str())).collect();
    hub.stream(&hundred, &[]);
    hub.stream(&[("match_urlpattern", &long[1..])], &[]);
    let too_many = [&hundred[..], &[("match", "one more")]].concat();
    let cases: &[&[(&str, &str)]] = &[
        &[("match", "a"), ("topic", "b")],
        &[("topic", "a"), ("match", "b")],
        &[("match", "a"), ("match_template", "b")],
        &[("matches", "a")],
        &[("MATCH", "a")],
        &[("match", "a"), ("Match_UrlPattern", "b")],
        &[("match_urlpattern", &long)],
        &[("match_urlpattern", "/a{")],
        &[("match_urlpattern", "/(")],
        &[("match_urlpattern", "")],
        &[("match", "")],
        &[("match", "a\u{200b}")],
        &[("match", "a\nb")],
        &[("match_urlpattern", "/a\u{202e}/:b")],
        &too_many,
    ];
    for asked in cases {
        assert_eq!(hub.refused(asked, &[]).status, 400, "{asked:?}");
    }
    assert_eq!(hub.refused_by("?match=%ff", &[]).status, 400);
    assert_eq!(hub.refused_by("?match=a&%ff=b", &[]).status, 400);
    let query = hub.ask(
        "QUERY",
        "",
        &["Content-Type: application/x-www-form-urlencoded"],
        "last_event_id=x",
    );
    assert_eq!(query.status, 400, "no matcher");
}

#[test]
fn other_parameters_are_passed_over() {
    Hub::open(&[]).stream(&[("match", "a"), ("utm", "x"), ("lastEventID", "earliest")], &[]);
}

#[test]
fn query_takes_its_parameters_from_a_form_in_the_body() {
    let hub = Hub::open(&[]);
    hub.publish(&[("topic", "a"), ("id", "1")]);
    hub.publish(&[("topic", "a"), ("id", "2")]);
    let body = form(&[("match", "a"), ("last_event_id", "1")]);
    let type_and_length = [
        "Content-Type: application/x-www-form-urlencoded",
        &format!("Content-Length: {}", body.len()),
    ];
    let mut stream = Stream::open_by(hub.server.address, "QUERY", PATH, &type_and_length, &body);
    assert_eq!(header(&stream.head, "mercure-last-event-id"), Some("1"));
    assert_eq!(ids(&mut stream, 1), ["2"]);
}

#[test]
fn query_unites_the_parameters_of_the_url_and_of_the_body() {
    let hub = Hub::open(&[]);
    for (topic, id) in [("a", "1"), ("b", "2"), ("a", "3")] {
        hub.publish(&[("topic", topic), ("id", id)]);
    }
    let target = format!("{PATH}?match=b&last_event_id=1");
    let body = form(&[("match", "a"), ("last_event_id", "2")]);
    let length = format!("Content-Length: {}", body.len());
    let form = "Content-Type: application/x-www-form-urlencoded";
    let address = hub.server.address;
    let mut stream = Stream::open_by(address, "QUERY", &target, &[form, &length], &body);
    assert_eq!(header(&stream.head, "mercure-last-event-id"), Some("1"), "the URL's cursor wins");
    assert_eq!(ids(&mut stream, 2), ["2", "3"]);
    for content_type in ["Content-Type: application/json", "X: none"] {
        assert_eq!(hub.ask("QUERY", "?match=a", &[content_type], &body).status, 415);
    }
}

#[test]
fn an_empty_cursor_is_answered_with_the_header_of_the_cursor() {
    let hub = Hub::open(&[]);
    hub.publish(&[("topic", "a"), ("id", "1")]);
    for (pairs, headers) in [
        (&[("match", "a"), ("last_event_id", "")][..], &[][..]),
        (&[("match", "a")], &["Last-Event-ID:"]),
    ] {
        let mut stream = hub.stream(pairs, headers);
        assert_eq!(header(&stream.head, "mercure-last-event-id"), Some("earliest"), "{pairs:?}");
        hub.publish(&[("topic", "a"), ("id", "next")]);
        assert_eq!(ids(&mut stream, 1), ["next"], "nothing is replayed");
    }
}

#[test]
fn head_answers_as_get_and_returns() {
    let hub = Hub::open(&[]);
    hub.publish(&[("topic", "a"), ("id", "1")]);
    let head =
        |query: &str| request(hub.server.address, "HEAD", &format!("{PATH}?{query}"), &[], b"");
    let answer = head("match=a&last_event_id=1");
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(answer.header("mercure-last-event-id"), Some("1"));
    assert_eq!(head("matches=a").status, 400);
    assert_eq!(head("topic=a").status, 200);
}

#[test]
fn the_cursor_is_a_header_then_the_query_and_the_response_names_what_was_found() {
    let hub = Hub::open(&[]);
    for id in ["1", "2", "3"] {
        hub.publish(&[("topic", "a"), ("id", id)]);
    }
    let open = |headers: &[&str]| hub.stream(&[("match", "a"), ("last_event_id", "1")], headers);
    let stated = |stream: &Stream| header(&stream.head, "mercure-last-event-id").map(str::to_owned);
    let mut by_query = open(&["Last-Event-ID:"]);
    assert_eq!(
        (stated(&by_query).as_deref(), ids(&mut by_query, 2)),
        (Some("1"), vec!["2".into(), "3".into()])
    );
    let mut by_header = open(&["Last-Event-ID: 2"]);
    assert_eq!(
        (stated(&by_header).as_deref(), ids(&mut by_header, 1)),
        (Some("2"), vec!["3".into()])
    );
    let mut earliest = open(&["Last-Event-ID: earliest"]);
    assert_eq!((stated(&earliest).as_deref(), ids(&mut earliest, 3).len()), (Some("earliest"), 3));
    let mut unknown = open(&["Last-Event-ID: unknown"]);
    hub.publish(&[("topic", "a"), ("id", "next")]);
    assert_eq!(
        (stated(&unknown).as_deref(), ids(&mut unknown, 1)),
        (Some("earliest"), vec!["next".into()])
    );
    assert_eq!(stated(&hub.stream(&[("match", "a")], &[])), None);
    assert!(header(&earliest.head, "last-event-id").is_none(), "that is the header of 0.x");
}

#[test]
fn pages_of_listed_origins_may_read_the_cursor_and_why_they_are_refused() {
    let hub = Hub::open(&["--allow-origin", "https://app.example"]);
    let headers = ["Origin: https://app.example", "Last-Event-ID: x"];
    for query in ["match=a", "topic=a", "match="] {
        let answer = request(hub.server.address, "HEAD", &format!("{PATH}?{query}"), &headers, b"");
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some("https://app.example"),
            "{query}"
        );
        let exposed = answer.header("access-control-expose-headers").unwrap();
        for name in ["mercure-last-event-id", "last-event-id", "www-authenticate"] {
            assert!(exposed.split(',').any(|known| known == name), "{exposed}");
        }
    }
    let preflight = ["Origin: https://app.example", "Access-Control-Request-Method: QUERY"];
    let answer = request(hub.server.address, "OPTIONS", PATH, &preflight, b"");
    assert!(
        answer.header("access-control-allow-methods").unwrap().contains("QUERY"),
        "{}",
        answer.head
    );
}

#[test]
fn anonymous_subscribing_is_off_unless_configured() {
    assert_eq!(Hub::closed(&[]).refused(&[("match", "a")], &[]).status, 401);
    Hub::open(&[]).stream(&[("match", "a")], &[]);
}

#[test]
fn the_metadata_of_the_resource_is_served() {
    let hub = Hub::closed(&[]);
    let path = "/.well-known/oauth-protected-resource/.well-known/mercure";
    let answer = request(hub.server.address, "GET", path, &[], b"");
    assert_eq!(answer.status, 200);
    let metadata = answer.json();
    assert_eq!(metadata["resource"], RESOURCE);
    assert_eq!(metadata["authorization_servers"], serde_json::json!(["https://issuer.example"]));
    assert_eq!(metadata["bearer_methods_supported"], serde_json::json!(["header"]));
    assert_eq!(request(hub.server.address, "POST", path, &[], b"").status, 405);
}

#[test]
fn a_stream_ends_at_its_maximum_age() {
    let hub = Hub::open(&["--mercure-max-age", "500ms"]);
    for parameter in ["match", "topic"] {
        assert_eq!(hub.stream(&[(parameter, "a")], &[]).next(), None);
    }
}
