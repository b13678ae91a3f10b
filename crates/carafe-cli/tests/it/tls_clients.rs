//! Streams over TLS with the clients of other TLS libraries, which the hub knows nothing about.

use std::process::{Command, Stdio};

use crate::clients::{node, skip};
use crate::process::{PATIENCE, Process, repository};
use crate::tls_streams::Hub;

/// How a client reads its stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// Over TLS 1.3: a shard delivers.
    Http1,
    Tls12,
    Http2,
}

impl Protocol {
    fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Tls12 => "tls1.2",
            Self::Http2 => "h2",
        }
    }

    /// The labels of its streams in the metrics.
    fn labels(self) -> &'static str {
        match self {
            Self::Http1 => "path=\"shard\",reason=\"\"",
            Self::Tls12 => "path=\"hyper\",reason=\"tls\"",
            Self::Http2 => "path=\"hyper\",reason=\"http2\"",
        }
    }
}

use Protocol::{Http1, Http2, Tls12};

/// Whether this program is installed. If not, prints that `test` is skipped.
fn is_installed(program: &str, version: &str, test: &str) -> bool {
    let mut command = Command::new(program);
    let started = command.arg(version).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_here = started.is_ok_and(|status| status.success());
    if !is_here {
        skip(test, &format!("{program} is not installed"));
    }
    is_here
}

/// The client receives small events and large ones, and after a reload of the certificate, too.
#[track_caller]
fn reads(mut client: Command, protocol: Protocol) -> (Hub, Process) {
    let hub = Hub::start(&[]);
    client.args([&hub.url("/events/a"), hub.certificate.path().to_str().unwrap()]);
    let process = Process::start(client.arg(protocol.name()));
    process.next_line(|line| line == "open");
    hub.metrics.wait_for(&format!("carafe_streams{{{}}}", protocol.labels()), 1.0);
    let large = "x".repeat(100_000);
    for data in ["one", &large, "two"] {
        hub.publish(data);
        process.next_line(|line| line == data);
    }
    hub.reload_certificate();
    hub.publish("three");
    process.next_line(|line| line == "three");
    (hub, process)
}

#[track_caller]
fn reads_to_the_end(client: Command, protocol: Protocol) {
    let (hub, process) = reads(client, protocol);
    hub.server.terminate();
    process.next_line(|line| line == "end");
    assert!(process.wait().success());
}

/// A program that runs this file.
fn run(program: &str, file: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(repository(file));
    command
}

#[test]
fn node_reads_a_stream_to_its_end() {
    if is_installed("node", "--version", "node_reads_a_stream_to_its_end") {
        for protocol in [Http1, Tls12, Http2] {
            reads_to_the_end(run("node", "tests/tls/client.mjs"), protocol);
        }
    }
}

#[test]
fn python_reads_a_stream_to_its_end() {
    if is_installed("python3", "--version", "python_reads_a_stream_to_its_end") {
        for protocol in [Http1, Tls12] {
            reads_to_the_end(run("python3", "tests/tls/client.py"), protocol);
        }
    }
}

#[test]
fn go_reads_a_stream_to_its_end() {
    if is_installed("go", "version", "go_reads_a_stream_to_its_end") {
        let folder = tempfile::TempDir::new().unwrap();
        let program = folder.path().join("client");
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(&program).arg(repository("tests/tls/client.go"));
        let built = build.output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        for protocol in [Http1, Tls12, Http2] {
            reads_to_the_end(Command::new(&program), protocol);
        }
    }
}

#[test]
fn java_reads_a_stream_to_its_end() {
    if is_installed("java", "--version", "java_reads_a_stream_to_its_end") {
        let client = || run("java", "tests/tls/Client.java");
        for protocol in [Http1, Tls12] {
            reads_to_the_end(client(), protocol);
        }
        // Java 17 takes a GOAWAY for the end of the streams that are open, too.
        reads(client(), Http2);
    }
}

/// Chromium opens at most six connections to an origin over HTTP/1.1.
#[test]
fn chromium_reads_streams_that_shards_deliver() {
    let test = "chromium_reads_streams_that_shards_deliver";
    if !crate::clients::is_here("browser", test) {
        return;
    }
    let hub = Hub::start(&[]);
    let mut tab = node("tests/browser/streams.mjs");
    tab.args([&hub.url("/"), "5"]).env("CHROMIUM_FLAGS", "--disable-http2");
    let tab = Process::start(&mut tab);
    let failure = tab.stderr.recv_timeout(4 * PATIENCE).unwrap_or_default();
    let seen: Vec<_> = tab.stdout.iter().collect();
    assert!(tab.wait().success(), "{failure}\n{}", seen.join("\n"));
    assert_eq!(seen, [r#"{"streams":5,"protocols":["http/1.1"]}"#]);
    let opened = "carafe_streams_opened_total{path=\"shard\",reason=\"\"}";
    assert!(hub.metrics.get(opened) >= 5.0);
}
