//! The tutorial's counter, to the byte.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::clients::{is_here, node};
use crate::http::{self, header, read_head};
use crate::process::{Process, example};

/// The output of the example.
struct Counter {
    address: SocketAddr,
    process: Process,
}

impl Counter {
    fn start() -> Self {
        let process = Process::start(example("counter").env("PORT", "0"));
        let address = process.listening(&process.stdout);
        Self { address, process }
    }

    #[track_caller]
    fn logs(&self, expected: &[&str]) {
        let lines: Vec<_> = expected.iter().map(|_| self.process.next_line(|_| true)).collect();
        assert_eq!(lines, expected);
    }
}

fn curl(arguments: &[&str]) -> String {
    let output =
        Command::new("curl").args(["--silent", "--no-buffer"]).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_body_is_the_tutorials_and_each_event_is_flushed_alone() {
    if !is_here("curl", "the_body_is_the_tutorials_and_each_event_is_flushed_alone") {
        return;
    }
    let counter = Counter::start();
    // Chunks show what was flushed together. Curl gives up in the middle of the fourth second.
    let raw = curl(&["--raw", "--max-time", "3.5", &format!("http://{}/events", counter.address)]);
    let expected =
        "E\r\nretry: 10000\n\n\r\n9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n9\r\ndata: 3\n\n\r\n";
    assert_eq!(raw, expected);
    counter.logs(&["connected", "emit 1", "emit 2", "emit 3"]);
}

#[test]
fn the_head_is_sent_before_the_body_with_the_tutorials_headers_and_the_first_event_a_second_later()
{
    let counter = Counter::start();
    let start = Instant::now();
    let mut socket = http::connect(counter.address);
    write!(socket, "GET /events HTTP/1.1\r\nHost: {}\r\n\r\n", counter.address).unwrap();
    let (head, mut body) = read_head(&mut socket);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(header(&head, "content-type"), Some("text/event-stream"));
    assert_eq!(header(&head, "cache-control"), Some("no-cache"));
    assert_eq!(header(&head, "connection"), Some("keep-alive"));
    assert_eq!(head.to_ascii_lowercase().matches("cache-control").count(), 1);
    let retry = b"E\r\nretry: 10000\n\n\r\n";
    while body.len() < retry.len() {
        read_more(&mut socket, &mut body);
    }
    assert_eq!(body, retry, "the retry comes alone, and at once");
    read_more(&mut socket, &mut body);
    assert!(
        start.elapsed() >= Duration::from_millis(990),
        "the first event came after {:?}",
        start.elapsed()
    );
    assert!(body.ends_with(b"9\r\ndata: 1\n\n\r\n"), "{:?}", String::from_utf8_lossy(&body));
}

fn read_more(socket: &mut impl Read, body: &mut Vec<u8>) {
    let mut buffer = [0; 256];
    let read = socket.read(&mut buffer).unwrap();
    assert!(read > 0, "the stream ended");
    body.extend_from_slice(&buffer[..read]);
}

#[test]
fn a_second_client_starts_at_one_and_a_client_that_leaves_ends_its_own_count() {
    let counter = Counter::start();
    let mut first = http::Stream::open(counter.address, "/events", &[]);
    assert_eq!(first.data(2), ["1", "2"]);
    counter.logs(&["connected", "emit 1", "emit 2"]);
    drop(first);
    let mut second = http::Stream::open(counter.address, "/events", &[]);
    assert_eq!(second.data(3), ["1", "2", "3"]);
    // The first one's count would stand between these.
    counter.logs(&["connected", "emit 1", "emit 2", "emit 3"]);
}

#[test]
fn http_1_0_gets_the_same_body_without_chunks_and_without_connection() {
    let counter = Counter::start();
    let mut socket = http::connect(counter.address);
    write!(socket, "GET /events HTTP/1.0\r\n\r\n").unwrap();
    let (head, mut body) = read_head(&mut socket);
    assert_eq!(header(&head, "content-type"), Some("text/event-stream"));
    assert_ne!(header(&head, "connection"), Some("keep-alive"));
    assert_eq!(header(&head, "transfer-encoding"), None);
    let expected = b"retry: 10000\n\ndata: 1\n\ndata: 2\n\n";
    while body.len() < expected.len() {
        read_more(&mut socket, &mut body);
    }
    assert_eq!(body, expected);
}

#[test]
fn http_2_gets_the_same_body_without_connection() {
    if !is_here("curl", "http_2_gets_the_same_body_without_connection") {
        return;
    }
    let counter = Counter::start();
    let url = format!("http://{}/events", counter.address);
    let answer = curl(&["--http2-prior-knowledge", "--include", "--max-time", "2.5", &url]);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/2 200"), "{head}");
    assert_eq!(header(head, "content-type"), Some("text/event-stream"));
    assert_eq!(header(head, "cache-control"), Some("no-cache"));
    assert_eq!(header(head, "connection"), None);
    assert_eq!(body, "retry: 10000\n\ndata: 1\n\ndata: 2\n\n");
}

#[test]
fn the_page_shows_each_count_as_text() {
    if !is_here("browser", "the_page_shows_each_count_as_text") {
        return;
    }
    let counter = Counter::start();
    let page = Process::start(
        node("tests/browser/counter.mjs").arg(format!("http://{}", counter.address)),
    );
    let content = page.next_line(|_| true);
    assert_eq!(content, r#"{"content":"1\n2\n3"}"#);
}
