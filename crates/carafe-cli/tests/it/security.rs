//! What every answer says to browsers, and what no client can put into a log or a stream.

use std::process::Command;

use crate::certificate::Certificate;
use crate::clients::is_here;
use crate::http::{Answer, Stream, get, post, request};
use crate::process::{Process, Server, carafe};

#[track_caller]
fn is_secure(answer: &Answer, framing: &str) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{}", answer.head);
    }
    let policy = answer.header("content-security-policy").unwrap_or_default();
    assert!(
        policy.starts_with("default-src 'none'") && policy.contains(framing),
        "{}",
        answer.head
    );
    assert_eq!(answer.header("strict-transport-security"), None, "{}", answer.head);
}

#[test]
fn every_answer_has_security_headers_refusals_too() {
    for hub in [Server::start(&[]), Server::dev()] {
        for (method, path) in [
            ("GET", "/"),
            ("GET", "/healthz"),
            ("GET", "/readyz"),
            ("GET", "/nope"),
            ("GET", "/events?topics"),
            ("PUT", "/events/a"),
            ("POST", "/events/a"),
            ("HEAD", "/events/a"),
            ("OPTIONS", "/events/a"),
        ] {
            is_secure(&request(hub.address, method, path, &[], b""), "frame-ancestors 'none'");
        }
        is_secure(
            &request(hub.address, "GET", "/", &["Host: rebound.example.com"], b""),
            "frame-ancestors 'none'",
        );
    }
}

#[test]
fn strict_transport_security_is_sent_over_tls_only_and_can_be_turned_off() {
    if !is_here("curl", "strict_transport_security_is_sent_over_tls_only_and_can_be_turned_off") {
        return;
    }
    let certificate = Certificate::new();
    let shown = certificate.options();
    let shown: Vec<_> = shown.iter().map(String::as_str).collect();
    for (options, is_sent) in [(&[][..], true), (&["--hsts", "0s"], false)] {
        let hub = Server::start(&[&shown, options].concat());
        let url = format!("https://{}/nope", hub.address);
        let answer = certificate.curl(&["--include", &url]);
        let head = String::from_utf8(answer.stdout).unwrap().to_ascii_lowercase();
        assert_eq!(
            head.contains("strict-transport-security: max-age=2592000\r\n"),
            is_sent,
            "{head}"
        );
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    }
}

#[test]
fn a_compressed_body_is_refused_with_what_to_do() {
    let hub = Server::start(&[]);
    for encoding in ["gzip", "br", "identity, gzip", "GZIP"] {
        let header = format!("Content-Encoding: {encoding}");
        for (path, kind) in [("/events/a", "text/plain"), ("/events", "application/x-ndjson")] {
            let kind = format!("Content-Type: {kind}");
            let answer = request(hub.address, "POST", path, &[&header, &kind], b"\x1f\x8b\x08\0");
            assert_eq!(answer.status, 415, "{encoding}: {}", answer.body);
            assert_eq!(answer.json()["type"], "urn:carafe:problem:content-encoding");
            assert!(answer.json()["detail"].as_str().unwrap().contains("without Content-Encoding"));
            assert_eq!(answer.header("accept-encoding"), Some("identity"));
        }
    }
    assert_eq!(
        request(hub.address, "POST", "/events/a", &["Content-Encoding: identity"], b"x").status,
        201
    );
}

/// Characters with which terminals, logs and event streams are led astray, percent-encoded.
const EVIL: [&str; 6] =
    ["%0A", "%0D", "%0D%0Adata:%20forged%0A%0A", "%00", "%1B%5B31m", "%C2%9B2J"];

#[test]
fn control_characters_in_topic_id_and_type_are_refused_or_harmless() {
    let hub = Server::start(&[]);
    let mut stream = Stream::open(hub.address, "/events?envelope=json", &[]);
    for evil in EVIL {
        assert_eq!(post(hub.address, &format!("/events/a{evil}b"), "x").status, 400, "{evil}");
        assert_eq!(get(hub.address, &format!("/events/a{evil}b")).status, 400, "{evil}");
        assert_eq!(get(hub.address, &format!("/events?pattern=a{evil}b")).status, 400, "{evil}");
        for parameter in ["event", "id"] {
            let answer = post(hub.address, &format!("/events/a?{parameter}=a{evil}b"), "x");
            match answer.status {
                201 => assert_eq!(next_envelope(&mut stream)["data"], "x", "{parameter} {evil}"),
                status => assert_eq!(status, 400, "{parameter} {evil}"),
            }
        }
    }
    assert_eq!(post(hub.address, "/events/a", "the last").status, 201);
    assert_eq!(next_envelope(&mut stream)["data"], "the last", "nothing more came of the others");
}

/// The envelope of the next event that is not the hub's own.
#[track_caller]
fn next_envelope(stream: &mut Stream) -> serde_json::Value {
    serde_json::from_str(&stream.data(1)[0]).unwrap()
}

/// A hub that logs each request.
fn talkative(format: &str) -> Server {
    let mut command: Command = carafe();
    command.args([
        "serve",
        "--anonymous",
        "subscribe,publish",
        "--log",
        "memory:",
        "--listen",
        "127.0.0.1:0",
    ]);
    command.args(["--log-format", format]).env("RUST_LOG", "debug");
    Server::of(Process::start(&mut command))
}

/// Asks for all kinds of evil, and gives the lines of the log until the hub has ended.
fn log_of_evil(hub: Server) -> Vec<String> {
    for evil in EVIL {
        get(hub.address, &format!("/events/a{evil}b?last=secret-query{evil}"));
        let headers =
            [&format!("Last-Event-ID: {evil}\x1b[31m")[..], "Authorization: Bearer secret"];
        request(hub.address, "POST", &format!("/{evil}?event={evil}&id=secret"), &headers, b"x");
    }
    hub.terminate();
    let process = hub.process();
    let lines = process.stderr.iter().collect();
    assert!(process.wait().success());
    lines
}

#[test]
fn a_line_of_the_log_is_a_record_without_control_characters_and_queries() {
    let lines = log_of_evil(talkative("text"));
    assert!(
        lines
            .iter()
            .any(|line| line.contains("answered") && line.contains("path=\"/events/a%0Ab\"")),
        "{lines:?}"
    );
    for line in lines {
        let begins = line
            .get(..20)
            .is_some_and(|time| time.trim_start().starts_with("20") && time.contains('T'));
        assert!(begins && !line.contains(char::is_control), "{line:?}");
        assert!(!line.contains("secret"), "{line}");
    }
}

#[test]
fn each_line_of_the_log_is_json_where_it_is_to_be() {
    let lines = log_of_evil(talkative("json"));
    assert!(lines.len() > 10, "{lines:?}");
    for line in &lines {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(record["fields"]["message"].is_string() && record["level"].is_string(), "{line}");
        assert!(!line.contains("secret") && !line.contains(char::is_control), "{line}");
    }
}
