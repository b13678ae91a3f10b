//! Pages of history as JSON, long polls, and what caches may do with them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use serde_json::{Value, json};

use crate::durable::log;
use crate::http::{Answer, Stream, connect, get, post, publish, read_head, request};
use crate::metrics::Metrics;
use crate::process::{Server, eventually};

const JSON: &str = "Accept: application/json";

/// A page in answer to a request that says in its URL that it wants one.
#[track_caller]
fn page(hub: &Server, target: &str) -> Value {
    body(&get(hub.address, &with_json(target)))
}

#[track_caller]
fn body(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}{}", answer.head, answer.body);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

fn with_json(target: &str) -> String {
    let separator = if target.contains('?') { '&' } else { '?' };
    format!("{target}{separator}format=json")
}

fn data(page: &Value) -> Vec<&str> {
    page["events"].as_array().unwrap().iter().map(|event| event["data"].as_str().unwrap()).collect()
}

/// Publishes numbers from zero, and returns their positions.
fn count(hub: &Server, topic: &str, count: usize) -> Vec<String> {
    let target = format!("/events/{topic}");
    (0..count).map(|number| publish(hub.address, &target, &number.to_string())).collect()
}

/// All values of the header, in lower case.
fn vary(answer: &Answer) -> Vec<String> {
    let lines = answer.head.lines().filter_map(|line| line.split_once(": "));
    let values = lines.filter(|(name, _)| name.eq_ignore_ascii_case("vary"));
    values.flat_map(|(_, value)| value.split(", ")).map(str::to_ascii_lowercase).collect()
}

#[test]
fn history_is_read_page_by_page_and_a_stream_continues_after_the_last() {
    let hub = Server::start(&[]);
    count(&hub, "a", 5);
    let first = page(&hub, "/events/a?limit=2");
    assert_eq!((data(&first), &first["up_to_date"]), (vec!["0", "1"], &json!(false)));
    let next = |page: &Value| page["next"].as_str().unwrap().to_owned();
    let second = page(&hub, &format!("/events/a?limit=2&last_event_id={}", next(&first)));
    assert_eq!(data(&second), ["2", "3"]);
    let third = page(&hub, &format!("/events/a?limit=2&last_event_id={}", next(&second)));
    assert_eq!((data(&third), &third["up_to_date"]), (vec!["4"], &json!(true)));
    publish(hub.address, "/events/b", "of another topic");
    publish(hub.address, "/events/a", "late");
    let mut stream =
        Stream::open(hub.address, &format!("/events/a?last_event_id={}", next(&third)), &[]);
    assert_eq!(stream.data(1), ["late"]);
}

#[test]
fn an_event_of_a_page_is_that_of_an_envelope() {
    let hub = Server::start(&[]);
    publish(hub.address, "/events/a?topic=b&event=brewed", "one\nflat white");
    let mut stream = Stream::open(hub.address, "/events/a?earliest&envelope=json", &[]);
    let envelope: Value = serde_json::from_str(&stream.next_published().data).unwrap();
    let page = page(&hub, "/events/a");
    assert_eq!(page["events"], json!([envelope]));
    assert_eq!(page["next"], envelope["id"]);
}

#[test]
fn a_page_begins_where_it_is_asked_to() {
    let hub = Server::start(&[]);
    let ids = count(&hub, "a", 3);
    publish(hub.address, "/events/b", "b");
    let after = |id: &str| vec![format!("Last-Event-ID: {id}")];
    let cases: [(&str, Vec<String>, &[&str]); 8] = [
        ("/events/a", vec![], &["0", "1", "2"]),
        ("/events/a?earliest", vec![], &["0", "1", "2"]),
        ("/events/a?last=2", vec![], &["1", "2"]),
        ("/events/a?last=0", vec![], &[]),
        ("/events/a", after(&ids[0]), &["1", "2"]),
        ("/events?pattern=*", after(&ids[1]), &["2", "b"]),
        ("/events?topic=a&topic=b&last=2", vec![], &["1", "2", "b"]),
        ("/events", vec![], &["0", "1", "2", "b"]),
    ];
    for (target, headers, expected) in cases {
        let headers: Vec<_> = headers.iter().map(String::as_str).collect();
        let answer = request(hub.address, "GET", &with_json(target), &headers, b"");
        assert_eq!(data(&body(&answer)), expected, "{target} {headers:?}");
    }
}

#[test]
fn a_client_gets_json_only_if_it_would_rather_have_it() {
    let hub = Server::start(&[]);
    publish(hub.address, "/events/a", "x");
    for accept in [JSON, "Accept: text/event-stream;q=0.5, application/json"] {
        let answer = request(hub.address, "GET", "/events/a", &[accept], b"");
        assert_eq!(data(&body(&answer)), ["x"]);
        assert!(vary(&answer).contains(&"accept".into()), "{}", answer.head);
    }
    for accept in ["Accept: */*", "Accept: text/event-stream", "Accept: application/json, */*"] {
        let stream = Stream::open(hub.address, "/events/a", &[accept]);
        let head = stream.head.to_ascii_lowercase();
        assert!(head.contains("content-type: text/event-stream"), "{accept}: {head}");
        assert!(head.contains("vary: accept"), "{accept}: {head}");
    }
    let head = request(hub.address, "HEAD", "/events/a", &[JSON], b"");
    assert_eq!(head.header("content-type"), Some("text/event-stream"), "{}", head.head);
}

#[test]
fn a_wrong_request_for_a_page_is_told_what_to_do() {
    let hub = Server::start(&[]);
    for (target, what) in [
        ("/events/a?format=xml", "use format=json"),
        ("/events/a?limit=0&format=json", "at least"),
        ("/events/a?limit=-1&format=json", "whole number"),
        ("/events/a?limit=5", "add format=json"),
        ("/events/a?wait=5s", "add format=json"),
        ("/events/a?wait=5&format=json", "wait=30s"),
        ("/events/a?wait=soon&format=json", "wait=30s"),
        ("/events/a?absent=404", "use 204"),
        ("/events/a?ended", "use 204"),
        ("/events/a?formt=json", "did you mean `format`?"),
    ] {
        let answer = get(hub.address, target);
        assert_eq!(answer.status, 400, "{target}: {}", answer.body);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(what), "{target}: {detail}");
    }
}

#[test]
fn a_page_has_no_more_than_its_limits() {
    let hub = Server::start(&["--history-bytes", "64MiB"]);
    let lines: String = (0..1500).map(|_| "{\"topic\":\"a\",\"data\":\"\"}\n").collect();
    let ndjson = ["Content-Type: application/x-ndjson"];
    let answer = request(hub.address, "POST", "/events", &ndjson, lines.as_bytes());
    assert_eq!(answer.status, 201, "{}", answer.body);
    let size = |page: &Value| page["events"].as_array().unwrap().len();
    assert_eq!(size(&page(&hub, "/events/a")), 100);
    assert_eq!(size(&page(&hub, "/events/a?last=150")), 150);
    let most = get(hub.address, "/events/a?limit=99999&format=json");
    assert!(most.body.len() <= (64 << 10) + 200, "{}", most.body.len());
    assert!((300..=1000).contains(&size(&body(&most))), "{}", size(&body(&most)));
    publish(hub.address, "/events/b", &"x".repeat(500_000));
    publish(hub.address, "/events/b", "next");
    assert_eq!(size(&page(&hub, "/events/b?limit=10")), 1, "one event, whatever its size");
}

#[test]
fn a_gap_is_a_member_of_the_page() {
    let hub = Server::start(&[]);
    publish(hub.address, "/events/a", "x");
    let foreign = page(&hub, "/events/a?last_event_id=other");
    assert_eq!(foreign["gap"]["reason"], "foreign");
    assert_eq!(foreign["gap"]["requested"], "other");
    assert_eq!(data(&foreign), [""; 0], "all that the hub keeps may be far more than is wanted");
    let earliest = page(&hub, "/events/a?last_event_id=other&on_gap=earliest");
    assert_eq!((data(&earliest), &earliest["gap"]["reason"]), (vec!["x"], &json!("foreign")));
}

#[test]
fn private_events_are_in_no_page_for_strangers() {
    let hub = Server::start(&["--anonymous", "subscribe,publish"]);
    post(hub.address, "/events/a?private", "secret");
    publish(hub.address, "/events/a", "public");
    assert_eq!(data(&page(&hub, "/events/a")), ["public"]);
    let closed = Server::anonymous("publish");
    assert_eq!(get(closed.address, "/events/a?format=json").status, 403);
}

/// A request that waits, on a connection of its own; the hub has read it when this returns.
fn waiting(hub: &Server, metrics: &Metrics, target: &str) -> TcpStream {
    let before = metrics.get("carafe_subscriptions");
    let mut socket = connect(hub.address);
    let address = hub.address;
    write!(socket, "GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")
        .unwrap();
    metrics.wait_for("carafe_subscriptions", before + 1.0);
    socket
}

fn answer(mut socket: TcpStream) -> Value {
    let (head, mut body) = read_head(&mut socket);
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.to_ascii_lowercase().contains("cache-control: no-store"), "{head}");
    socket.read_to_end(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[test]
fn a_client_waits_for_the_first_event_that_it_may_see() {
    let (hub, metrics) = Server::with_metrics(&[]);
    let position = publish(hub.address, "/events/a", "known");
    let target = format!("/events/a?format=json&wait=60s&last_event_id={position}");
    let socket = waiting(&hub, &metrics, &target);
    publish(hub.address, "/events/b", "of another topic");
    post(hub.address, "/events/a?private", "secret");
    let seen = publish(hub.address, "/events/a", "new");
    let page = answer(socket);
    assert_eq!((data(&page), page["next"].as_str()), (vec!["new"], Some(seen.as_str())));
    metrics.wait_for("carafe_subscriptions", 0.0);
}

#[test]
fn a_wait_ends_with_an_empty_page() {
    let hub = Server::start(&[]);
    let position = publish(hub.address, "/events/a", "known");
    for wait in ["1ms", "0", "0s"] {
        let page = page(&hub, &format!("/events/a?wait={wait}&last_event_id={position}"));
        assert_eq!((data(&page), &page["up_to_date"]), (vec![], &json!(true)), "{wait}");
        assert_eq!(page["next"], json!(position));
    }
}

#[test]
fn what_is_there_is_not_waited_for() {
    let hub = Server::start(&[]);
    publish(hub.address, "/events/a", "there");
    assert_eq!(data(&page(&hub, "/events/a?wait=60s")), ["there"]);
    assert_eq!(page(&hub, "/events/a?wait=60s&last_event_id=x")["gap"]["reason"], "foreign");
}

#[test]
fn a_client_that_leaves_while_it_waits_frees_everything() {
    let (hub, metrics) = Server::with_metrics(&["--subscribers", "1"]);
    let socket = waiting(&hub, &metrics, "/events/a?format=json&wait=60s");
    let refused = get(hub.address, "/events/a?format=json");
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.header("retry-after").is_some(), "{}", refused.head);
    assert!(refused.json()["detail"].as_str().unwrap().ends_with("or raise --subscribers"));
    assert_eq!(metrics.limited("subscribers"), 1.0);
    drop(socket);
    metrics.wait_for("carafe_subscriptions", 0.0);
    eventually("the permit is free", || get(hub.address, "/events/a?format=json").status == 200);
}

#[test]
fn a_drain_answers_those_who_wait() {
    let (hub, metrics) = Server::with_metrics(&[]);
    let socket = waiting(&hub, &metrics, "/events/a?format=json&wait=60s");
    hub.terminate();
    let page = answer(socket);
    assert_eq!((data(&page), &page["up_to_date"]), (vec![], &json!(true)));
    assert!(hub.wait().success());
}

/// The headers by which caches decide.
fn caching(answer: &Answer) -> (Option<&str>, bool) {
    (answer.header("cache-control"), answer.header("etag").is_some())
}

#[test]
fn only_a_page_of_the_past_that_its_url_fixes_is_for_all_caches() {
    let hub = Server::start(&[]);
    let ids = count(&hub, "a", 4);
    let fixed = format!("/events/a?format=json&limit=2&last_event_id={}", ids[0]);
    let by_accept = format!("/events/a?limit=2&last_event_id={}", ids[0]);
    let full = "/events/a?format=json&limit=2";
    let after = format!("Last-Event-ID: {}", ids[0]);
    let shared = (Some("max-age=3600"), true);
    let own = (Some("private, no-cache"), true);
    let none = (Some("no-store"), false);
    let tail = format!("/events/a?format=json&limit=4&last_event_id={}", ids[0]);
    let foreign = "/events/a?format=json&limit=2&last_event_id=x&on_gap=earliest";
    let cases: [(&str, &[&str], _); 9] = [
        (&fixed, &[], shared),
        (&fixed, &["Authorization: Basic eDp5"], own),
        (&fixed, &["Cookie: session=1"], own),
        (&by_accept, &[JSON], own),
        (full, &[], own),
        (full, &[&after], own),
        (&tail, &[], none),
        ("/events/a?format=json&limit=2&last=1", &[], none),
        (foreign, &[], none),
    ];
    for (target, headers, expected) in cases {
        let answer = request(hub.address, "GET", target, headers, b"");
        assert_eq!(caching(&answer), expected, "{target} {headers:?}: {}", answer.body);
        let vary = vary(&answer);
        for name in ["accept", "authorization", "cookie", "origin"] {
            assert!(vary.contains(&name.into()), "{target}: {vary:?}");
        }
    }
}

#[test]
fn caches_show_a_page_no_longer_than_its_erased_events_stay_on_the_disk() {
    let hub = Server::start(&["--erase-within", "10m"]);
    let ids = count(&hub, "a", 3);
    let target = format!("/events/a?format=json&limit=1&last_event_id={}", ids[0]);
    assert_eq!(get(hub.address, &target).header("cache-control"), Some("max-age=600"));
    let moves = "/events/a?format=json&limit=1&last_event_id=earliest";
    assert_eq!(get(hub.address, moves).header("cache-control"), Some("private, no-cache"));
}

#[test]
fn a_full_page_is_validated_by_its_tag_and_stays_the_same() {
    let (_folder, path) = log();
    let hub = Server::on_disk(&path, &[]);
    let ids = count(&hub, "a", 3);
    let target = format!("/events/a?format=json&limit=2&last_event_id={}", ids[0]);
    let first = get(hub.address, &target);
    let tag = first.header("etag").unwrap().to_owned();
    assert!(tag.starts_with('"'), "a strong tag: {tag}");
    publish(hub.address, "/events/a", "later");
    check_known(hub.address, &target, &tag);
    let other = get(hub.address, &target.replace("limit=2", "limit=1"));
    assert_ne!(other.header("etag"), Some(tag.as_str()));
    hub.terminate();
    assert!(hub.wait().success());
    let hub = Server::on_disk(&path, &[]);
    assert_eq!(get(hub.address, &target).body, first.body);
    check_known(hub.address, &target, &tag);
}

#[track_caller]
fn check_known(address: SocketAddr, target: &str, tag: &str) {
    for known in [tag.to_owned(), format!("\"x\", W/{tag}"), "*".to_owned()] {
        let header = format!("If-None-Match: {known}");
        let answer = request(address, "GET", target, &[&header], b"");
        assert_eq!((answer.status, answer.body.as_str()), (304, ""), "{known}");
        assert_eq!(answer.header("etag"), Some(tag));
        assert_eq!(answer.header("cache-control"), Some("max-age=3600"));
    }
    let answer = request(address, "GET", target, &["If-None-Match: \"x\""], b"");
    assert_eq!(answer.status, 200);
}

#[test]
fn a_topic_without_history_is_absent_for_those_who_ask() {
    let hub = Server::start(&[]);
    post(hub.address, "/events/secret?private", "x");
    publish(hub.address, "/events/a", "x");
    for target in ["/events/none?earliest&absent=204", "/events/secret?absent=204&format=json"] {
        let answer = get(hub.address, target);
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{target}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let mut stream = Stream::open(hub.address, "/events/a?earliest&absent=204", &[]);
    assert_eq!(stream.data(1), ["x"]);
    assert_eq!(data(&page(&hub, "/events?pattern=*&absent=204")), ["x"]);
    let closed = Server::anonymous("publish");
    assert_eq!(get(closed.address, "/events/none?absent=204").status, 403);
}

#[test]
fn a_topic_that_is_fed_is_not_absent() {
    let hub = Server::start(&[]);
    let target = "/events/fed?absent=204&format=json";
    assert_eq!(get(hub.address, target).status, 204);
    let mut feeder = connect(hub.address);
    let address = hub.address;
    write!(
        feeder,
        "POST /events/fed HTTP/1.1\r\nHost: {address}\r\nTransfer-Encoding: chunked\r\n\
         Content-Type: text/event-stream\r\n\r\n"
    )
    .unwrap();
    eventually("the request is open", || get(hub.address, target).status == 200);
    drop(feeder);
    eventually("the request has ended", || get(hub.address, target).status == 204);
}

#[test]
fn many_pages_at_once_are_all_answered() {
    let hub = Server::start(&[]);
    count(&hub, "a", 150);
    let address = hub.address;
    let readers = (0..16)
        .map(|_| thread::spawn(move || data(&get(address, "/events/a?format=json").json()).len()));
    let readers: Vec<_> = readers.collect();
    assert!(readers.into_iter().all(|reader| reader.join().unwrap() == 100));
}
