//! What a proxy forwards: events at once, large batches, addresses, topics as they are.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::thread;

use crate::clients::{is_here, next_shown, node};
use crate::http::{Stream, publish, read_head};
use crate::process::{Process, Server};
use crate::proxies::{Front, Kind, behind_each_proxy};
use crate::proxy::{Cut, Proxy};

behind_each_proxy!(
    events_and_heartbeats_arrive_at_once,
    a_client_that_is_cut_resumes_exactly,
    a_large_batch_is_accepted,
    no_client_forges_an_address,
    each_client_is_counted_by_its_own_address,
    a_topic_is_forwarded_as_it_is,
);

/// An event arrives while its stream stays open, and so do the signs of life.
fn events_and_heartbeats_arrive_at_once(kind: Kind, _test: &str) {
    let hub = Server::start(&["--heartbeat", "200ms"]);
    let front = Front::start(kind, hub.address);
    for version in ["--http2", "--http1.1"] {
        let stream = front.stream(version);
        for data in ["first", "second"] {
            front.publish(version, "/events/orders", &["--data", data]);
            stream.next_line(|line| line == format!("data: {data}"));
        }
        stream.next_line(|line| line == ":");
        stream.next_line(|line| line == ":");
    }
}

/// A client whose streams are cut on the far side of the proxy resumes exactly.
fn a_client_that_is_cut_resumes_exactly(kind: Kind, test: &str) {
    const EVENTS: usize = 300;
    if !is_here("node", test) {
        return;
    }
    let hub = Server::start(&["--retry", "10ms"]);
    let cutting = Proxy::start(hub.address, 10, Cut::InBody);
    let front = Front::start(kind, cutting.address);
    let reader = Process::start(
        node("tests/clients/eventsource.mjs")
            .args([&front.url("/events/orders?earliest=true"), &EVENTS.to_string()])
            .env("NODE_EXTRA_CA_CERTS", front.certificate.path()),
    );
    let published: Vec<_> = (0..EVENTS)
        .map(|number| publish(hub.address, "/events/orders", &number.to_string()))
        .collect();
    let shown = std::iter::repeat_with(|| next_shown(&reader));
    let shown = shown.filter(|event| !event.event_type.starts_with("carafe."));
    let ids: Vec<_> = shown.take(EVENTS).map(|event| event.id).collect();
    assert_eq!(ids, published);
    assert!(cutting.cuts() > 0);
}

/// A batch that is larger than what proxies accept by default.
fn a_large_batch_is_accepted(kind: Kind, _test: &str) {
    let hub = Server::start(&[]);
    let front = Front::start(kind, hub.address);
    let line = format!("{{\"topic\":\"orders\",\"data\":\"{}\"}}\n", "x".repeat(100_000));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), line.repeat(150)).unwrap();
    let data = format!("@{}", file.path().display());
    let batch = ["--data-binary", &data, "--header", "Content-Type: application/x-ndjson"];
    for version in ["--http2", "--http1.1"] {
        front.publish(version, "/events", &batch);
    }
}

/// Only the proxy states the client's address to the hub, over connections that may be kept.
fn no_client_forges_an_address(kind: Kind, _test: &str) {
    let hub = TcpListener::bind("127.0.0.1:0").unwrap();
    let front = Front::start(kind, hub.local_addr().unwrap());
    let url = front.url("/healthz");
    let head = thread::scope(|scope| {
        scope.spawn(|| front.certificate.curl(&["--header", "X-Forwarded-For: 192.0.2.1", &url]));
        let (mut socket, _) = hub.accept().unwrap();
        let (head, _) = read_head(&mut socket);
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        head.to_lowercase()
    });
    assert!(head.starts_with("get /healthz http/1.1\r\n"), "{head}");
    for line in [
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: https",
        &format!("host: {}", front.secure),
    ] {
        assert!(head.lines().any(|found| found == line), "{line} is not in {head}");
    }
    assert!(!head.contains("connection: close"), "{head}");
}

/// Each client has its own streams, and cannot have another's by what it says of itself.
fn each_client_is_counted_by_its_own_address(kind: Kind, _test: &str) {
    let hub = Server::start(&["--trusted-proxies", "127.0.0.1", "--subscribers-per-address", "1"]);
    let front = Front::start(kind, hub.address);
    let url = front.url("/events/orders");
    let (first, second) = ("127.0.0.2", "127.0.0.3");
    let opened = [first, second].map(|from| {
        let stream = front.certificate.curl_stream(&["--interface", from, &url]);
        stream.next_line(|line| line == "event: carafe.position");
        stream
    });
    for from in [first, second] {
        let forged = ["--interface", from, "--header", "X-Forwarded-For: 192.0.2.1", &url];
        let text = String::from_utf8(front.certificate.curl(&forged).stdout).unwrap();
        assert!(
            text.starts_with("retry: ") && text.ends_with("\n\n") && text.lines().count() == 2,
            "{text}"
        );
    }
    publish(hub.address, "/events/orders", "x");
    opened.iter().for_each(|stream| drop(stream.next_line(|line| line == "data: x")));
}

/// Slashes that are encoded or doubled, a percent sign, and text that is not ASCII.
fn a_topic_is_forwarded_as_it_is(kind: Kind, _test: &str) {
    const TOPIC: &str = "https://example.org//orders/50%/ü?a=b";
    const PATH: &str = "/events/https%3A%2F%2Fexample.org%2F%2Forders/50%25%2F%C3%BC%3Fa=b";
    let hub = Server::start(&[]);
    let front = Front::start(kind, hub.address);
    for version in ["--http2", "--http1.1"] {
        let stream = front.certificate.curl_stream(&[version, &front.url(PATH)]);
        stream.next_line(|line| line == "event: carafe.position");
        front.publish(version, PATH, &["--data", version]);
        stream.next_line(|line| line == format!("data: {version}"));
    }
    let mut stored = Stream::open(hub.address, "/events?last=1&envelope=json", &[]);
    let event: serde_json::Value = serde_json::from_str(&stored.next_published().data).unwrap();
    assert_eq!(event["topic"], TOPIC);
}
