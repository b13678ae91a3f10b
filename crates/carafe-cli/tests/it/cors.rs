//! Which pages of other origins may use the hub, and with what.

use crate::http::{Answer, Stream, header, request};
use crate::process::Server;

const APP: &str = "https://app.example";

/// Origins beside the one that is listed, and what browsers send for none.
const FOREIGN: [&str; 5] = [
    "https://evil.example",
    "http://app.example",
    "https://app.example.evil.example",
    "https://app.example:8443",
    "null",
];

fn hub(origins: &str) -> Server {
    Server::start(&["--allow-origin", origins])
}

/// As a browser asks before it sends a token or an ID.
fn preflight(hub: &Server, origin: &str, method: &str, headers: &str) -> Answer {
    let headers = [
        format!("Origin: {origin}"),
        format!("Access-Control-Request-Method: {method}"),
        format!("Access-Control-Request-Headers: {headers}"),
    ];
    let headers: Vec<_> = headers.iter().map(String::as_str).collect();
    request(hub.address, "OPTIONS", "/events/a", &headers, b"")
}

fn simple(hub: &Server, origin: &str, path: &str) -> Answer {
    request(hub.address, "HEAD", path, &[&format!("Origin: {origin}")], b"")
}

/// For which origin, and whether with credentials.
fn allowed(answer: &Answer) -> (Option<&str>, Option<&str>) {
    (
        answer.header("access-control-allow-origin"),
        answer.header("access-control-allow-credentials"),
    )
}

#[track_caller]
fn varies(answer: &Answer) {
    let vary = answer.header("vary").unwrap_or_default().to_ascii_lowercase();
    assert!(vary.split(", ").any(|name| name == "origin"), "{}", answer.head);
}

#[test]
fn a_listed_origin_is_allowed_by_its_name_with_credentials() {
    let hub = hub(&format!("{APP},http://localhost:5173"));
    for origin in [APP, "http://localhost:5173"] {
        let answer = simple(&hub, origin, "/events/a");
        assert_eq!(answer.status, 200);
        assert_eq!(allowed(&answer), (Some(origin), Some("true")));
        let shown = answer.header("access-control-expose-headers").unwrap();
        let names = [
            "carafe-position",
            "carafe-last-position",
            "carafe-last-key",
            "last-event-id",
            "mercure-last-event-id",
            "retry-after",
            "www-authenticate",
        ];
        for name in names {
            assert!(shown.split(',').any(|found| found == name), "{name} is not in {shown}");
        }
        varies(&answer);
    }
}

#[test]
fn a_stream_and_a_refusal_are_for_the_page_to_read() {
    let hub = hub(APP);
    let from_app = format!("Origin: {APP}");
    let stream = Stream::open(hub.address, "/events/a", &[&from_app]);
    assert_eq!(header(&stream.head, "access-control-allow-origin"), Some(APP));
    let created = request(hub.address, "POST", "/events/a", &[&from_app], b"x");
    assert_eq!((created.status, allowed(&created)), (201, (Some(APP), Some("true"))));
    for path in ["/events?topics=a", "/nope"] {
        let refused = request(hub.address, "GET", path, &[&from_app], b"");
        assert!(matches!(refused.status, 400 | 404), "{}", refused.head);
        assert_eq!(allowed(&refused), (Some(APP), Some("true")));
    }
}

#[test]
fn a_foreign_origin_is_allowed_nothing() {
    let hub = hub(APP);
    for origin in FOREIGN {
        let answers =
            [simple(&hub, origin, "/events/a"), preflight(&hub, origin, "POST", "authorization")];
        for answer in answers {
            assert_eq!(
                answer.header("access-control-allow-origin"),
                None,
                "{origin}: {}",
                answer.head
            );
            assert_eq!(
                answer.header("access-control-allow-credentials"),
                None,
                "{origin}: {}",
                answer.head
            );
            varies(&answer);
        }
    }
}

#[test]
fn other_requests_get_no_cors_header_but_vary() {
    let hub = hub(APP);
    for (method, path, status) in
        [("GET", "/healthz", 200), ("HEAD", "/events/a", 200), ("OPTIONS", "/events/a", 405)]
    {
        let answer = request(hub.address, method, path, &[], b"");
        assert_eq!(answer.status, status, "{method}");
        assert!(!answer.head.contains("access-control-"), "{}", answer.head);
        varies(&answer);
    }
}

#[test]
fn a_preflight_lists_methods_and_headers_and_publishes_nothing() {
    let hub = hub(APP);
    for method in ["DELETE", "GET", "HEAD", "POST", "QUERY"] {
        let answer = preflight(&hub, APP, method, "authorization, last-event-id, content-type");
        assert_eq!((answer.status, answer.body.as_str()), (200, ""));
        assert_eq!(allowed(&answer), (Some(APP), Some("true")));
        let listed = |name: &str| answer.header(name).unwrap().to_ascii_lowercase();
        assert_eq!(listed("access-control-allow-methods"), "delete,get,head,post,query");
        assert_eq!(
            listed("access-control-allow-headers"),
            "authorization, last-event-id, content-type"
        );
        assert_eq!(answer.header("access-control-max-age"), Some("600"));
        varies(&answer);
    }
    let position = simple(&hub, APP, "/events/a");
    assert!(
        position.header("carafe-position").unwrap().ends_with("-0-00000000"),
        "{}",
        position.head
    );
}

#[test]
fn any_origin_is_allowed_without_credentials_and_a_listed_one_beside_it_with_them() {
    let any = hub("*");
    for origin in FOREIGN.into_iter().chain([APP]) {
        for answer in
            [simple(&any, origin, "/events/a"), preflight(&any, origin, "GET", "last-event-id")]
        {
            assert_eq!(allowed(&answer), (Some(origin), None), "{origin}");
        }
    }
    let both = hub(&format!("*,{APP}"));
    assert_eq!(allowed(&simple(&both, APP, "/events/a")), (Some(APP), Some("true")));
    assert_eq!(allowed(&simple(&both, FOREIGN[0], "/events/a")), (Some(FOREIGN[0]), None));
}

#[test]
fn without_an_allowlist_no_origin_is_allowed_and_programs_need_none() {
    let hub = Server::start(&[]);
    for origin in FOREIGN.into_iter().chain([APP]) {
        assert_eq!(allowed(&simple(&hub, origin, "/events/a")), (None, None));
        assert_eq!(allowed(&preflight(&hub, origin, "GET", "authorization")), (None, None));
    }
    let program = request(hub.address, "HEAD", "/events/a", &[], b"");
    assert_eq!((program.status, allowed(&program)), (200, (None, None)));
}

#[test]
fn two_origins_in_one_request_are_none() {
    let hub = hub(APP);
    let origins = [
        format!("Origin: {APP} https://evil.example"),
        format!("Origin: https://evil.example, {APP}"),
    ];
    for origins in origins {
        let answer = request(hub.address, "HEAD", "/events/a", &[&origins], b"");
        assert_eq!(allowed(&answer), (None, None), "{origins}");
    }
}
