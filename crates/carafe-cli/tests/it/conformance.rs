//! What HTTP asks of a server, from the client's side of the socket.

use std::io::{Read, Write};

use crate::http::{connect, get, header, post, read_head, request, send};
use crate::metrics::Metrics;
use crate::process::Server;

#[test]
fn a_request_without_one_host_is_refused_in_words_and_its_connection_ends() {
    let (hub, metrics) = Server::with_metrics(&[]);
    for target in ["/events/a", "/healthz", "/nowhere", "http://x/events/a"] {
        for hosts in [
            "",
            "Host: a\r\nHost: a\r\n",
            "Host: a\r\nHost: b\r\n",
            "Host: user@a\r\n",
            "Host: a b\r\n",
        ] {
            // A second request on the connection is not answered, so the answer ends where the
            // connection does.
            let head = format!(
                "GET {target} HTTP/1.1\r\n{hosts}\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
            );
            let answer = send(hub.address, head.as_bytes());
            assert_eq!(answer.status, 400, "{target} {hosts:?}: {}", answer.body);
            assert_eq!(answer.json()["type"], "urn:carafe:problem:bad-host");
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            assert_eq!(answer.header("connection"), Some("close"));
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        }
    }
    assert_eq!(
        metrics.get("carafe_refused_total{request=\"subscribe\",reason=\"bad-host\"}"),
        10.0
    );
    assert_eq!(post(hub.address, "/events/a", "x").status, 201);
}

#[test]
fn where_metrics_are_served_a_request_has_a_host_too() {
    let hub = Server::start(&["--metrics-listen", "127.0.0.1:0"]);
    let metrics = Metrics::of(&hub);
    let answer = send(metrics.address, b"GET /metrics HTTP/1.1\r\n\r\n");
    assert_eq!(
        (answer.status, &answer.json()["type"]),
        (400, &"urn:carafe:problem:bad-host".into())
    );
}

#[test]
fn http_1_0_needs_no_host() {
    let hub = Server::start(&[]);
    assert_eq!(send(hub.address, b"GET /healthz HTTP/1.0\r\n\r\n").status, 200);
    assert_eq!(
        send(hub.address, b"GET /healthz HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n").status,
        400
    );
}

#[test]
fn a_stream_over_http_1_0_does_not_claim_to_keep_the_connection() {
    let hub = Server::start(&[]);
    for asked in ["", "Connection: keep-alive\r\n", "Connection: close\r\n"] {
        let mut socket = connect(hub.address);
        write!(socket, "GET /events/a HTTP/1.0\r\n{asked}\r\n").unwrap();
        let (head, _) = read_head(&mut socket);
        assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
        assert!(!head.to_ascii_lowercase().contains("keep-alive"), "{head}");
        assert_eq!(header(&head, "transfer-encoding"), None, "{head}");
    }
}

#[test]
fn a_response_with_a_length_keeps_a_connection_over_http_1_0_on_request() {
    let hub = Server::start(&[]);
    let mut socket = connect(hub.address);
    for _ in 0..2 {
        write!(socket, "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").unwrap();
        let (head, mut body) = read_head(&mut socket);
        assert_eq!(header(&head, "connection"), Some("keep-alive"), "{head}");
        while body.len() < "alive\n".len() {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            body.push(byte[0]);
        }
    }
}

#[test]
fn head_of_a_stream_has_no_length() {
    let hub = Server::start(&["--mercure"]);
    for target in ["/events/a", "/events?pattern=*", "/.well-known/mercure?topic=a"] {
        let answer = request(hub.address, "HEAD", target, &[], b"");
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{target}");
        assert_eq!(answer.header("content-length"), None, "{target}: {}", answer.head);
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    }
    let length = get(hub.address, "/healthz").header("content-length").map(str::to_owned);
    assert_eq!(
        request(hub.address, "HEAD", "/healthz", &[], b"").header("content-length"),
        length.as_deref()
    );
}
