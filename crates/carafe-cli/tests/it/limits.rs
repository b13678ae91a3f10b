//! Every limit that a client can meet: the response, and how it is counted.

use std::iter::repeat_with;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::durable::log;
use crate::http::{Answer, Stream, get, post, publish, request, send};
use crate::metrics::Metrics;
use crate::process::Server;

/// The milliseconds after which the client reconnects, on a stream that has nothing else.
#[track_caller]
pub(crate) fn reconnect_delay(answer: &Answer) -> u64 {
    assert_eq!(answer.status, 200, "EventSource never retries after 4xx and 5xx: {}", answer.body);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let retry = answer.body.strip_prefix("retry: ").and_then(|rest| rest.strip_suffix("\n\n"));
    retry.unwrap_or_else(|| panic!("{:?}", answer.body)).parse().unwrap()
}

/// The response to a client behind a proxy.
fn get_for(hub: &Server, client: &str, path: &str) -> Answer {
    request(hub.address, "GET", path, &[&format!("X-Forwarded-For: {client}")], b"")
}

fn stream_for(hub: &Server, client: &str) -> Stream {
    Stream::open(hub.address, "/events/a", &[&format!("X-Forwarded-For: {client}")])
}

#[test]
fn over_the_limit_of_streams_a_client_reconnects_much_later_until_one_leaves() {
    let (hub, metrics) = Server::with_metrics(&["--subscribers", "2"]);
    let (_first, second) =
        (Stream::open(hub.address, "/events/a", &[]), Stream::open(hub.address, "/events/b", &[]));
    let waits: Vec<_> = (0..20).map(|_| reconnect_delay(&get(hub.address, "/events/a"))).collect();
    assert!(waits.iter().all(|retry| (15_000..=25_000).contains(retry)), "{waits:?}");
    assert!(waits.iter().any(|retry| *retry != waits[0]), "all would reconnect at once: {waits:?}");
    assert_eq!(metrics.limited("subscribers"), 20.0);
    let refused = "carafe_refused_total{request=\"subscribe\",reason=\"subscribers\"}";
    assert_eq!(metrics.get(refused), 20.0);
    hub.next_record(|line| line.contains("the limit of streams is reached"));
    assert_eq!(get(hub.address, "/healthz").status, 200);
    assert_eq!(
        request(hub.address, "HEAD", "/events/a", &[], b"").status,
        200,
        "a position is no stream"
    );
    drop(second);
    metrics.wait_for("carafe_subscriptions", 1.0);
    publish(hub.address, "/events/a", "x");
    assert_eq!(Stream::open(hub.address, "/events/a?earliest", &[]).data(1), ["x"]);
}

#[test]
fn a_client_may_have_so_many_streams_and_others_do_not_notice() {
    let options = ["--subscribers-per-address", "2", "--trusted-proxies", "127.0.0.0/8,10.0.0.0/8"];
    let (hub, metrics) = Server::with_metrics(&options);
    let _own = [stream_for(&hub, "192.0.2.1"), stream_for(&hub, "1.1.1.1, 192.0.2.1, 10.1.1.1")];
    reconnect_delay(&get_for(&hub, "192.0.2.1", "/events/a"));
    reconnect_delay(&get_for(&hub, "203.0.113.9, 192.0.2.1", "/events/a"));
    assert_eq!(metrics.limited("subscribers-per-address"), 2.0);
    hub.next_record(|line| line.contains("client=192.0.2.1") && line.contains("--trusted-proxies"));
    let _other = stream_for(&hub, "192.0.2.2");
    let _sixth = [stream_for(&hub, "2001:db8::1"), stream_for(&hub, "2001:db8::2:3:4:5")];
    reconnect_delay(&get_for(&hub, "2001:db8::ffff", "/events/a"));
    let _neighbour = stream_for(&hub, "2001:db8:0:1::1");
}

#[test]
fn the_address_that_a_client_claims_is_ignored() {
    let hub = Server::start(&["--subscribers-per-address", "1", "--trusted-proxies", "10.0.0.0/8"]);
    let _own = stream_for(&hub, "192.0.2.1");
    reconnect_delay(&get_for(&hub, "192.0.2.2", "/events/a"));
    reconnect_delay(&request(hub.address, "GET", "/events/a", &["Forwarded: for=192.0.2.3"], b""));
}

#[test]
fn proxies_that_write_forwarded_are_read_there() {
    let options = [
        "--subscribers-per-address",
        "1",
        "--trusted-proxies",
        "127.0.0.1",
        "--proxy-header",
        "forwarded",
    ];
    let hub = Server::start(&options);
    let _first = Stream::open(hub.address, "/events/a", &["Forwarded: for=192.0.2.1;proto=https"]);
    let second = "Forwarded: for=9.9.9.9, for=\"192.0.2.2:4711\"";
    let _second = Stream::open(hub.address, "/events/a", &[second]);
    for header in [second, "Forwarded: for=\"192.0.2.1\""] {
        reconnect_delay(&request(
            hub.address,
            "GET",
            "/events/a",
            &[header, "X-Forwarded-For: 5.5.5.5"],
            b"",
        ));
    }
}

#[track_caller]
fn post_for(hub: &Server, client: &str) -> Answer {
    request(hub.address, "POST", "/events/a", &[&format!("X-Forwarded-For: {client}")], b"x")
}

#[test]
fn a_publisher_over_its_rate_gets_the_time_to_wait() {
    let options =
        ["--publish-rate", "60/h", "--publish-burst", "3", "--trusted-proxies", "127.0.0.1"];
    let (hub, metrics) = Server::with_metrics(&options);
    for _ in 0..3 {
        assert_eq!(post_for(&hub, "192.0.2.1").status, 201);
    }
    let answer = post_for(&hub, "192.0.2.1");
    assert_eq!(
        (answer.status, &answer.json()["type"]),
        (429, &"urn:carafe:problem:too-fast".into())
    );
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert_eq!(metrics.limited("publish-rate"), 1.0);
    assert_eq!(post_for(&hub, "192.0.2.2").status, 201, "another has its own");
    let batch = |client: &str, lines: usize| {
        let body = "{\"topic\":\"a\",\"data\":\"x\"}\n".repeat(lines);
        let headers = [client, "Content-Type: application/x-ndjson"];
        request(hub.address, "POST", "/events", &headers, body.as_bytes())
    };
    let [third, fourth] = ["X-Forwarded-For: 192.0.2.3", "X-Forwarded-For: 192.0.2.4"];
    let answer = batch(third, 4);
    assert_eq!(answer.status, 413, "it would never go");
    assert_eq!(batch(third, 1).status, 429, "it was read, and counts");
    assert!(
        answer.json()["detail"].as_str().unwrap().contains("more than the 3 events"),
        "{}",
        answer.body
    );
    assert_eq!(
        (batch(fourth, 3).status, batch(fourth, 1).status),
        (201, 429),
        "each event of a batch counts"
    );
    assert_eq!(metrics.get("carafe_events_published_total"), 7.0, "what is refused is not stored");
}

#[test]
fn without_a_rate_everybody_publishes_as_they_can() {
    let hub = Server::start(&[]);
    for _ in 0..200 {
        assert_eq!(post(hub.address, "/events/a", "x").status, 201);
    }
}

/// Does `what`, and checks the status and that this limit was counted, once.
#[track_caller]
fn meets(metrics: Metrics, limit: &str, status: u16, what: impl FnOnce() -> Answer) -> Answer {
    let before = metrics.limited(limit);
    let answer = what();
    assert_eq!(answer.status, status, "{limit}: {}", answer.body);
    metrics.wait_for(&format!("carafe_limited_total{{limit=\"{limit}\"}}"), before + 1.0);
    answer
}

#[test]
fn every_limit_of_a_request_has_its_status_and_its_counter() {
    let options = [
        "--event-bytes",
        "1KiB",
        "--batch-bytes",
        "2KiB",
        "--body-timeout",
        "200ms",
        "--matchers",
        "2",
    ];
    let more = ["--complex-patterns", "1", "--header-timeout", "300ms"];
    let (hub, metrics) = Server::with_metrics(&[&options[..], &more].concat());
    let at = hub.address;
    let ndjson = |body: &str| {
        request(at, "POST", "/events", &["Content-Type: application/x-ndjson"], body.as_bytes())
    };
    let long = "x".repeat(1025);
    let large = format!("{{\"topic\":\"a\",\"data\":\"{long}\"}}");

    meets(metrics, "event-bytes", 413, || post(at, "/events/a", &long));
    meets(metrics, "event-bytes", 413, || ndjson(&large));
    meets(metrics, "batch-bytes", 413, || ndjson(&large.repeat(2)));
    meets(metrics, "topic-bytes", 400, || post(at, &format!("/events/{long}"), "x"));
    meets(metrics, "matchers", 400, || get(at, "/events?topic=a&topic=b&topic=c"));
    let unfinished = b"POST /events/a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc";
    meets(metrics, "body-timeout", 408, || send(at, unfinished));
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    meets(metrics, "header-bytes", 431, || send(at, head.as_bytes()));
    meets(metrics, "header-timeout", 0, || send(at, b"GET / HTTP/1.1\r\nHo"));
    meets(metrics, "header-timeout", 0, || send(at, b""));
    let _complex = Stream::open(at, "/events?pattern=a-:id", &[]);
    let answer = meets(metrics, "complex-patterns", 200, || get(at, "/events?pattern=b-:id"));
    reconnect_delay(&answer);
}

#[test]
fn one_client_has_its_part_of_the_complex_patterns() {
    let (hub, metrics) = Server::with_metrics(&["--complex-patterns-per-client", "1"]);
    let at = hub.address;
    let _complex = Stream::open(at, "/events?pattern=a-:id", &[]);
    let limit = "complex-patterns-per-client";
    reconnect_delay(&meets(metrics, limit, 200, || get(at, "/events?pattern=b-:id")));
    let never = meets(metrics, limit, 400, || get(at, "/events?pattern=a-:id&pattern=b-:id"));
    assert!(never.body.contains("urn:carafe:problem:too-complex"), "{}", never.body);
    Stream::open(at, "/events?pattern=a-:id", &[]);
    // The last would be refused for what it is, if it were looked at.
    meets(metrics, limit, 400, || get(at, "/events?pattern=b-:id&pattern=c-:id&pattern=(("));
    let many: String = (0..200).map(|number| format!("pattern=p{number}&")).collect();
    meets(metrics, "matchers", 400, || get(at, &format!("/events?{many}pattern=((")));
}

#[test]
fn a_search_for_the_last_events_that_takes_too_many_tests_is_refused() {
    let (hub, metrics) = Server::with_metrics(&["--pattern-tests", "100"]);
    let at = hub.address;
    let lines: String =
        (0..1000).map(|number| format!("{{\"topic\":\"a/{number}\",\"data\":\"x\"}}\n")).collect();
    let batch =
        request(at, "POST", "/events", &["Content-Type: application/x-ndjson"], lines.as_bytes());
    assert!((200..300).contains(&batch.status), "{}", batch.body);
    let refused =
        meets(metrics, "pattern-tests", 400, || get(at, "/events?pattern=none-:id&last=1"));
    assert!(refused.body.contains("urn:carafe:problem:too-much-work"), "{}", refused.body);
    Stream::open(at, "/events?pattern=a/*&last=1", &[]);
}

#[test]
fn an_event_that_history_has_no_room_for_is_refused_and_counted() {
    let (hub, metrics) = Server::with_metrics(&["--history-bytes", "1KiB"]);
    assert_eq!(post(hub.address, "/events/a", "x").status, 201);
    meets(metrics, "history-bytes", 413, || post(hub.address, "/events/a", &"x".repeat(1024)));
}

#[test]
fn publishers_are_rejected_for_now_when_too_much_waits_to_be_stored() {
    let (_folder, place) = log();
    let hub =
        Server::on_disk(&place, &["--waiting-bytes", "1B", "--metrics-listen", "127.0.0.1:0"]);
    let metrics = Metrics::of(&hub);
    let over = AtomicBool::new(false);
    let publish_until_refused = || {
        let publish = || post(hub.address, "/events/a", &"x".repeat(10_000));
        let mut answers = repeat_with(publish).take_while(|_| !over.load(Ordering::SeqCst));
        let refused = answers.find(|answer| answer.status != 201);
        over.store(true, Ordering::SeqCst);
        refused
    };
    let refused: Vec<_> = thread::scope(|scope| {
        let publishers: Vec<_> = (0..8).map(|_| scope.spawn(publish_until_refused)).collect();
        publishers.into_iter().filter_map(|publisher| publisher.join().unwrap()).collect()
    });
    assert!(!refused.is_empty() && metrics.limited("waiting-bytes") >= refused.len() as f64);
    for answer in refused {
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("1")),
            "{}",
            answer.body
        );
    }
}

#[test]
fn a_stream_that_the_hub_ends_is_counted_as_ended() {
    let (hub, metrics) = Server::with_metrics(&["--drain-timeout", "20s"]);
    // More than are ended at once, so that the hub is still there when the first have ended.
    let streams: Vec<_> = (0..150).map(|_| Stream::open(hub.address, "/events/a", &[])).collect();
    hub.terminate();
    metrics.wait_until(|metrics| metrics.get("carafe_draining") == 1.0);
    let ended = "carafe_streams_closed_total{path=\"shard\",reason=\"ended\"}";
    metrics.wait_until(|metrics| metrics.get(ended) >= 100.0);
    for mut stream in streams {
        assert!(stream.next().is_some() && stream.next().is_none(), "each ends in order");
    }
    assert!(hub.wait().success());
}
