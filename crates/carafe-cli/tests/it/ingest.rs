//! Streaming ingest from real clients to a real hub.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::process::Command;
use std::thread;

use carafe_testing::clients::{is_here, node};
use serde_json::Value;

use crate::http::{Stream, connect, header, publish, read_head, request};
use crate::process::{Process, Server, carafe, eventually, repository};

const MIB: usize = 1 << 20;

/// A request with a body in chunks, over HTTP/1.1.
struct Upload {
    socket: TcpStream,
}

impl Upload {
    fn open(address: SocketAddr, target: &str, headers: &[&str]) -> Self {
        let socket = connect(address);
        let mut upload = Self { socket };
        upload.begin(target, headers);
        upload
    }

    fn begin(&mut self, target: &str, headers: &[&str]) {
        self.try_begin(target, headers).unwrap();
    }

    fn try_begin(&mut self, target: &str, headers: &[&str]) -> io::Result<()> {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n{headers}\r\n"
        );
        self.socket.write_all(head.as_bytes())
    }

    fn try_send(&mut self, text: &str) -> io::Result<()> {
        self.socket.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())
    }

    fn send(&mut self, text: &str) {
        self.try_send(text).unwrap();
    }

    fn end(&mut self) -> (String, Value) {
        self.socket.write_all(b"0\r\n\r\n").unwrap();
        self.answer()
    }

    /// The head of the answer, and its JSON.
    fn answer(&mut self) -> (String, Value) {
        let (head, mut body) = read_head(&mut self.socket);
        let length: usize = header(&head, "content-length").unwrap().parse().unwrap();
        let read = body.len();
        body.resize(length, 0);
        self.socket.read_exact(&mut body[read..]).unwrap();
        (head, serde_json::from_slice(&body).unwrap())
    }
}

const STREAM: &str = "Content-Type: text/event-stream";

#[test]
fn events_are_delivered_before_the_body_ends_and_the_connection_serves_the_next_request() {
    let hub = Server::start(&[]);
    let mut reader = Stream::open(hub.address, "/events/a", &[]);
    let mut upload = Upload::open(hub.address, "/events/a", &[STREAM]);
    for round in ["first", "second"] {
        for number in ["1", "2"] {
            upload.send(&format!("data: {round} {number}\n\nda"));
            assert_eq!(reader.next_published().data, format!("{round} {number}"));
            upload.send("ta: lost\n\n");
            assert_eq!(reader.next_published().data, "lost");
        }
        upload.send("data: without its blank line\n");
        let (head, answer) = upload.end();
        assert!(head.starts_with("HTTP/1.1 201 "), "{head}");
        assert_eq!((&answer["stored"], &answer["repeated"]), (&4.into(), &0.into()));
        let last = request(hub.address, "HEAD", "/events/a", &[], b"");
        assert_eq!(last.header("carafe-last-position"), answer["last"].as_str());
        if round == "first" {
            upload.begin("/events/a", &[STREAM]);
        }
    }
}

/// curl asks for it before it sends a body of unknown length.
#[test]
fn a_client_that_waits_for_100_continue_is_told_to_go_on_and_gets_an_early_answer() {
    let hub = Server::start(&[]);
    let mut upload = Upload::open(
        hub.address,
        "/events/a?split=lines",
        &["Expect: 100-continue", "Content-Type: text/plain"],
    );
    assert!(read_head(&mut upload.socket).0.starts_with("HTTP/1.1 100 "));
    upload.send("first\n");
    let mut reader = Stream::open(hub.address, "/events/a?earliest", &[]);
    assert_eq!(reader.next_published().data, "first");
    // UTF-8 has no such byte.
    upload.socket.write_all(b"2\r\n\xff\n\r\n").unwrap();
    // More of what the client has sent already, which must not reset the connection.
    upload.send(&"x\n".repeat(100_000));
    let (head, answer) = upload.answer();
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    assert_eq!(header(&head, "connection"), Some("close"));
    assert_eq!((&answer["stored"], &answer["line"]), (&1.into(), &2.into()), "{answer}");
}

#[test]
fn open_requests_are_counted() {
    let (hub, metrics) = Server::with_metrics(&[]);
    let mut upload = Upload::open(hub.address, "/events/a", &[STREAM]);
    metrics.wait_for("carafe_ingests", 1.0);
    upload.send("data: 1\n\n");
    upload.end();
    metrics.wait_for("carafe_ingests", 0.0);
}

#[test]
fn the_log_says_what_has_become_of_a_request() {
    let mut program = carafe();
    program.args(["serve", "--anonymous", "publish", "--log", "memory:"]);
    program.args(["--listen", "127.0.0.1:0"]).env("RUST_LOG", "debug");
    let hub = Server::of(Process::start(&mut program));
    let mut upload = Upload::open(hub.address, "/events/a", &[STREAM]);
    upload.send("data: 1\n\n");
    upload.end();
    let line = hub.next_record(|line| line.contains("an ingest request has ended"));
    assert!(line.contains("stored=1") && line.contains("end=\"complete\""), "{line}");
}

#[test]
fn a_hub_that_stops_answers_its_producers_and_ends_in_order() {
    let hub = Server::start(&[]);
    let mut reader = Stream::open(hub.address, "/events/a", &[]);
    let mut uploads: Vec<_> =
        (0..20).map(|_| Upload::open(hub.address, "/events/a", &[STREAM])).collect();
    for upload in &mut uploads {
        upload.send("data: 1\n\ndata: part");
        reader.next_published();
    }
    hub.terminate();
    for upload in &mut uploads {
        let (head, answer) = upload.answer();
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert_eq!(answer["stored"], 1, "{answer}");
    }
    assert!(hub.wait().success());
}

#[test]
fn what_a_producer_has_sent_stays_when_it_leaves() {
    let (hub, metrics) = Server::with_metrics(&[]);
    let mut reader = Stream::open(hub.address, "/events/a", &[]);
    let mut upload = Upload::open(hub.address, "/events/a", &[STREAM]);
    upload.send("data: 1\n\ndata: 2\n\ndata: part\n");
    upload.socket.shutdown(Shutdown::Both).unwrap();
    assert_eq!([reader.next_published().data, reader.next_published().data], ["1", "2"]);
    metrics.wait_for("carafe_ingests", 0.0);
    publish(hub.address, "/events/a", "3");
    assert_eq!(reader.next_published().data, "3");
}

/// It goes on after the key that the hub has, and sends some events twice.
#[test]
fn a_producer_goes_on_after_the_hub_was_killed_and_nothing_is_lost_or_doubled() {
    const EVENTS: usize = 3000;
    const KILLS: usize = 4;
    const OVERLAP: usize = 10;
    let folder = tempfile::tempdir().unwrap();
    let start = |address| Server::on_disk_at(address, folder.path(), &[]);
    let mut hub = start("127.0.0.1:0".parse().unwrap());
    let address = hub.address;
    for kill in 1..=KILLS {
        // Feeds until the hub is gone, which is killed in the middle.
        let first = last_key(address).saturating_sub(OVERLAP) + 1;
        let producer = thread::spawn(move || feed(address, first..=usize::MAX));
        let target = kill * EVENTS / KILLS;
        eventually("enough is stored", || last_key(address) >= target);
        hub.kill();
        assert!(producer.join().unwrap().is_err(), "the hub has not answered");
        hub = start(address);
    }
    let before = last_key(address);
    assert!(before >= EVENTS, "{before}");
    let answer = feed(address, before - OVERLAP + 1..=before + 5).unwrap();
    let counts = (answer["stored"].as_u64(), answer["repeated"].as_u64());
    assert_eq!(counts, (Some(5), Some(OVERLAP as u64)), "{answer}");
    let mut reader = Stream::open(address, "/events/a?earliest", &[]);
    for number in 1..=before + 5 {
        assert_eq!(reader.next_published().data, number.to_string());
    }
}

fn last_key(address: SocketAddr) -> usize {
    let answer = request(address, "HEAD", "/events/a", &[], b"");
    answer.header("carafe-last-key").map_or(0, |key| key.parse().unwrap())
}

/// Sends these numbers, each with its key. An error says that the hub is gone.
fn feed(address: SocketAddr, numbers: RangeInclusive<usize>) -> io::Result<Value> {
    // Not `Upload::open`: the hub may be gone already.
    let socket = TcpStream::connect(address)?;
    let mut upload = Upload { socket };
    upload.try_begin("/events/a", &[STREAM])?;
    for number in numbers {
        upload.try_send(&format!("id: {number}\ndata: {number}\n\n"))?;
    }
    Ok(upload.end().1)
}

/// The hub takes no more than it stores, whatever the client sends.
#[test]
fn an_endless_body_takes_little_memory() {
    let hub = Server::start(&["--history-bytes", "4MiB", "--ring-bytes", "1MiB"]);
    let mut upload = Upload::open(hub.address, "/events/a?split=lines", &[]);
    let lines = format!("{}\n", "x".repeat(99)).repeat(1000);
    (0..20).for_each(|_| upload.send(&lines));
    let before = hub.memory("VmRSS");
    (0..1000).for_each(|_| upload.send(&lines));
    let (_, answer) = upload.end();
    assert_eq!(answer["stored"], 1_020_000);
    let grown = hub.memory("VmHWM").saturating_sub(before);
    assert!(grown < 16 * MIB, "{grown}");
}

/// Each sends lines from its standard input as they arrive, and prints the answer.
#[test]
fn curl_node_and_python_send_events_as_they_happen() {
    let hub = Server::start(&[]);
    let url = |name: &str| format!("{}?split=lines", hub.url(&format!("/events/{name}")));
    check("curl", &hub, curl(&["--http1.1", &url("curl")]));
    check("http2", &hub, curl(&["--http2-prior-knowledge", &url("http2")]));
    let test = "curl_node_and_python_send_events_as_they_happen";
    if is_here("node", test) {
        let mut program = node("tests/clients/ingest.mjs");
        program.args([&url("node"), "text/plain"]);
        check("node", &hub, program);
    }
    let mut program = Command::new("python3");
    program.arg("-B").arg(repository("tests/clients/ingest.py"));
    program.args([&url("python"), "text/plain"]);
    check("python", &hub, program);
}

/// Uploads standard input without waiting for it to be there.
fn curl(arguments: &[&str]) -> Command {
    let mut program = Command::new("curl");
    let common = ["--silent", "--show-error", "--no-buffer", "--request", "POST"];
    program.args(common).args(["--upload-file", "."]).args(arguments);
    program
}

fn check(topic: &str, hub: &Server, mut program: Command) {
    let mut reader = Stream::open(hub.address, &format!("/events/{topic}"), &[]);
    let (client, mut input) = Process::start_with_input(&mut program);
    for data in ["first", "second"] {
        writeln!(input, "{data}").unwrap();
        assert_eq!(reader.next_published().data, data, "{topic}");
    }
    drop(input);
    client.next_line(|line| line.contains("\"stored\":2,"));
}

/// The body is open when the hub answers, and stays so.
#[test]
fn curl_and_node_see_an_answer_that_comes_before_the_body_has_ended() {
    let hub = Server::start(&[]);
    let url = |name: &str| hub.url(&format!("/events/{name}"));
    let ndjson = ["--header", "Content-Type: application/x-ndjson"];
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let mut program = curl(&[&ndjson[..], &[version, &url("curl")]].concat());
        check_early(version, &mut program);
    }
    if is_here("node", "curl_and_node_see_an_answer_that_comes_before_the_body_has_ended") {
        let mut program = node("tests/clients/ingest.mjs");
        check_early("node", program.args([&url("node"), "application/x-ndjson"]));
    }
}

/// Its body stays open.
#[test]
fn a_producer_that_is_asked_to_stop_is_told_at_once_by_its_client() {
    let hub = Server::dev();
    let header = ["--header", "Content-Type: text/event-stream"];
    let mut clients = vec![];
    for (topic, version) in [("http1", "--http1.1"), ("http2", "--http2-prior-knowledge")] {
        let url = hub.url(&format!("/events/{topic}?on_abort=fail"));
        clients.push((topic, curl(&[&header[..], &[version, &url]].concat())));
    }
    if is_here("node", "a_producer_that_is_asked_to_stop_is_told_at_once_by_its_client") {
        let mut program = node("tests/clients/ingest.mjs");
        program.args([&*hub.url("/events/node?on_abort=fail"), "text/event-stream"]);
        clients.push(("node", program));
    }
    for (topic, mut program) in clients {
        let mut reader = Stream::open(hub.address, &format!("/events/{topic}"), &[]);
        let (client, mut input) = Process::start_with_input(&mut program);
        input.write_all(b"data: first\n\n").unwrap();
        assert_eq!(reader.next_published().data, "first", "{topic}");
        publish(hub.address, &format!("/events/{topic}?stop&reason=enough"), "");
        let line = client.next_line(|line| line.contains("{\"stop\":{"));
        assert!(line.contains("\"reason\":\"enough\"") && line.contains("\"stored\":1,"), "{line}");
        let state = request(hub.address, "HEAD", &format!("/events/{topic}"), &[], b"");
        assert!(state.header("carafe-stop").is_some(), "the topic has not ended: {}", state.head);
    }
}

fn check_early(client: &str, program: &mut Command) {
    let (process, mut input) = Process::start_with_input(program);
    input.write_all(b"{\"data\":1}\nno JSON\n").unwrap();
    let line = process.next_line(|line| line.contains("\"stored\":1,"));
    assert!(line.contains("\"line\":2"), "{client}: {line}");
    drop(input);
}
