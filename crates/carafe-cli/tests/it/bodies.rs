//! The bodies of requests: which are rejected before they are sent, and the memory they take.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::{self, ScopedJoinHandle};

use crate::http::{connect, header, post, read_head, request};
use crate::metrics::Metrics;
use crate::process::{Server, eventually};

const MIB: usize = 1 << 20;

const BATCH: &str = "POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n";

/// The beginning of a batch whose line does not end.
fn unfinished(bytes: usize) -> Vec<u8> {
    let mut line = b"{\"topic\":\"a\",\"data\":[".to_vec();
    line.resize(bytes, b'1');
    line
}

#[test]
fn a_publisher_without_rights_is_rejected_instead_of_100_continue() {
    let hub = Server::anonymous("subscribe");
    for target in ["/events/a", "/events", "/.well-known/mercure"] {
        let mut socket = connect(hub.address);
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).unwrap();
        let (head, _) = read_head(&mut socket);
        let status = if target.starts_with("/events") { "403" } else { "404" };
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {head}");
    }
    let hub = Server::start(&[]);
    let mut socket = connect(hub.address);
    socket
        .write_all(format!("{BATCH}Content-Length: 22\r\nExpect: 100-continue\r\n\r\n").as_bytes())
        .unwrap();
    assert!(read_head(&mut socket).0.starts_with("HTTP/1.1 100 "));
    socket.write_all(b"{\"topic\":\"a\",\"data\":1}").unwrap();
    assert!(read_head(&mut socket).0.starts_with("HTTP/1.1 201 "));
}

/// The hub responds although none of the bodies ever ends.
#[test]
fn bodies_of_clients_that_may_not_publish_take_no_memory() {
    let hub = Server::anonymous("subscribe");
    let before = hub.memory("VmRSS");
    let body = unfinished(2 * MIB);
    let mut sockets: Vec<_> = (0..60).map(|_| connect(hub.address)).collect();
    thread::scope(|scope| {
        for socket in &sockets {
            scope.spawn(|| send(socket, 16 * MIB - 1, "", &body));
        }
        for mut socket in &sockets {
            let mut status = [0; 13];
            socket.read_exact(&mut status).unwrap();
            assert_eq!(&status, b"HTTP/1.1 403 ");
        }
        sockets.iter().for_each(|socket| drop(socket.shutdown(Shutdown::Both)));
    });
    let grown = hub.memory("VmHWM").saturating_sub(before);
    assert!(grown < 16 * MIB, "{grown}");
    sockets.clear();
}

/// Sends the head of a batch and this much of its body, as far as the server takes it.
fn send(mut socket: &TcpStream, declared: usize, headers: &str, body: &[u8]) {
    let head = format!("{BATCH}{headers}Content-Length: {declared}\r\n\r\n");
    let _ = socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(body));
}

#[test]
fn bodies_in_flight_have_one_budget_and_their_memory_is_returned() {
    let limits =
        ["--body-bytes-in-flight", "16MiB", "--batch-bytes", "8MiB", "--event-bytes", "8MiB"];
    let more = [
        "--trusted-proxies",
        "127.0.0.1",
        "--body-timeout",
        "60s",
        "--metrics-listen",
        "127.0.0.1:0",
    ];
    let hub = Server::start(&[&limits[..], &more].concat());
    let metrics = Metrics::of(&hub);
    let before = hub.memory("VmRSS");
    let body = unfinished(MIB);
    let sockets: Vec<_> = (0..60).map(|_| connect(hub.address)).collect();
    let refused = thread::scope(|scope| {
        for (number, socket) in sockets.iter().enumerate() {
            let body = &body;
            let client = format!("X-Forwarded-For: 192.0.2.{number}\r\n");
            scope.spawn(move || send(socket, 4 * MIB, &client, body));
        }
        let answers: Vec<_> = sockets.iter().map(|socket| scope.spawn(|| answer(socket))).collect();
        metrics.wait_for("carafe_limited_total{limit=\"body-bytes-in-flight\"}", 57.0);
        // The bodies that have memory keep it.
        sockets.iter().for_each(|socket| drop(socket.shutdown(Shutdown::Both)));
        answers
            .into_iter()
            .filter_map(|answer| ScopedJoinHandle::join(answer).unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(
        refused.len(),
        57,
        "beside what is kept for small ones, 16 MiB have room for three of 4 MiB"
    );
    for head in refused {
        assert!(
            head.starts_with("HTTP/1.1 503 ") && header(&head, "retry-after") == Some("1"),
            "{head}"
        );
    }
    let most = hub.memory("VmHWM").saturating_sub(before);
    assert!(most < 32 * MIB, "a line is in memory twice at most: {most}");
    drop(sockets);
    eventually("the memory is returned", || hub.memory("VmRSS").saturating_sub(before) < 8 * MIB);
    assert_eq!(post(hub.address, "/events/a", "x").status, 201);
}

#[test]
fn memory_of_small_events_is_freed_when_they_are_gone() {
    let limits =
        ["--body-bytes-in-flight", "64MiB", "--history-bytes", "32MiB", "--history-events", "10"];
    let hub = Server::start(
        &[&limits[..], &["--ring-bytes", "1MiB", "--trusted-proxies", "127.0.0.1"]].concat(),
    );
    let (before, address) = (hub.memory("VmRSS"), hub.address);
    let batch = "{\"topic\":\"a\",\"data\":\"\"}\n".repeat(60_000);
    thread::scope(|scope| {
        for number in 0..8 {
            let batch = &batch;
            scope.spawn(move || {
                let client = format!("X-Forwarded-For: 192.0.2.{number}");
                let headers = [&client, "Content-Type: application/x-ndjson"];
                let answer = request(address, "POST", "/events", &headers, batch.as_bytes());
                assert!(matches!(answer.status, 201 | 503), "{}", answer.body);
            });
        }
    });
    let most = hub.memory("VmHWM").saturating_sub(before);
    assert!(most > 40 * MIB, "they took no more than {most}");
    eventually("the memory is given back", || {
        hub.memory("VmRSS").saturating_sub(before) < 32 * MIB
    });
}

/// The head of the answer, if there is one before the connection ends.
fn answer(mut socket: &TcpStream) -> Option<String> {
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    answer.split_once("\r\n\r\n").map(|(head, _)| format!("{head}\r\n"))
}

#[test]
fn one_client_leaves_room_for_the_bodies_of_others() {
    let limits =
        ["--body-bytes-in-flight", "4MiB", "--batch-bytes", "1MiB", "--event-bytes", "1MiB"];
    let more = ["--trusted-proxies", "127.0.0.1", "--metrics-listen", "127.0.0.1:0"];
    let hub = Server::start(&[&limits[..], &more].concat());
    let metrics = Metrics::of(&hub);
    let sockets: Vec<_> = (0..4).map(|_| connect(hub.address)).collect();
    for socket in &sockets {
        send(socket, MIB, "X-Forwarded-For: 192.0.2.1\r\n", b"{");
    }
    metrics.wait_for("carafe_limited_total{limit=\"body-bytes-in-flight\"}", 2.0);
    let body = "x".repeat(MIB);
    let other = ["X-Forwarded-For: 192.0.2.2"];
    assert_eq!(request(hub.address, "POST", "/events/a", &other, body.as_bytes()).status, 201);
}

/// A tree of its values would take twenty times what the text does.
#[test]
fn one_long_line_takes_no_more_memory_than_its_text_and_its_data() {
    let zeros =
        |bytes: usize| format!("{{\"topic\":\"a\",\"data\":[{}0]}}", "0,".repeat(bytes / 2 - 16));
    let ndjson = ["Content-Type: application/x-ndjson"];
    let grown = |options: &[&str], status: u16| {
        let hub = Server::start(options);
        let before = hub.memory("VmRSS");
        let answer = request(hub.address, "POST", "/events", &ndjson, zeros(16 * MIB).as_bytes());
        assert_eq!(answer.status, status, "{}", answer.body);
        hub.memory("VmHWM").saturating_sub(before)
    };
    let refused = grown(&[], 413);
    assert!(refused < 24 * MIB, "{refused}");
    let large = ["--event-bytes", "16MiB", "--body-bytes-in-flight", "128MiB"];
    let stored = grown(&large, 201);
    assert!(stored < 80 * MIB, "{stored}");
}
