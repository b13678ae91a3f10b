//! TLS and HTTP/2.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::certificate::{Certificate, curl, curl_stream};
use crate::cli::fails;
use crate::clients::{is_here, node};
use crate::http::connect;
use crate::process::{PATIENCE, Process, Server, carafe};

/// A hub that shows `certificate`, with these options beside.
fn hub(certificate: &Certificate, options: &[&str]) -> Server {
    let shown = certificate.options();
    let shown: Vec<_> = shown.iter().map(String::as_str).collect();
    Server::start(&[&shown, options].concat())
}

fn url(hub: &Server, path: &str) -> String {
    format!("https://{}{path}", hub.address)
}

/// Whether the hub shows the certificate in this file.
fn shows(hub: &Server, certificate: &Path) -> bool {
    let answer = curl(&["--cacert", certificate.to_str().unwrap(), &url(hub, "/healthz")]);
    let code = answer.status.code();
    assert!(matches!(code, Some(0 | 60)), "{code:?} {}", String::from_utf8_lossy(&answer.stderr));
    code == Some(0)
}

/// The version that curl and the hub settled on; an event is published by it.
#[track_caller]
fn version(arguments: &[&str], url: &str) -> String {
    let publish =
        ["--write-out", "%{http_version} %{response_code}", "--output", "/dev/null", "--data", "x"];
    let answer = curl(&[&publish[..], arguments, &[url]].concat());
    let text = String::from_utf8(answer.stdout).unwrap();
    let (version, status) = text.split_once(' ').unwrap();
    assert_eq!(status, "201", "{}", String::from_utf8_lossy(&answer.stderr));
    version.into()
}

#[test]
fn over_tls_the_client_chooses_the_version_by_alpn() {
    if !is_here("curl", "over_tls_the_client_chooses_the_version_by_alpn") {
        return;
    }
    let certificate = Certificate::new();
    let hub = hub(&certificate, &[]);
    let path = certificate.path();
    let trust = ["--cacert", path.to_str().unwrap()];
    let url = url(&hub, "/events/orders");
    assert_eq!(version(&[&trust[..], &["--http2"]].concat(), &url), "2");
    assert_eq!(version(&[&trust[..], &["--http1.1"]].concat(), &url), "1.1");
    assert_eq!(version(&[&trust[..], &["--no-alpn"]].concat(), &url), "1.1");
}

#[test]
fn cleartext_http_2_needs_prior_knowledge_and_serves_streams() {
    if !is_here("curl", "cleartext_http_2_needs_prior_knowledge_and_serves_streams") {
        return;
    }
    let hub = Server::start(&[]);
    let url = hub.url("/events/orders");
    let stream = curl_stream(&["--http2-prior-knowledge", &url]);
    stream.next_line(|line| line == "event: carafe.position");
    assert_eq!(version(&["--http2-prior-knowledge"], &url), "2");
    assert_eq!(version(&["--http1.1"], &url), "1.1");
    stream.next_line(|line| line == "data: x");
}

#[test]
fn the_program_publishes_and_subscribes_over_tls_to_a_hub_whose_certificate_is_trusted() {
    let certificate = Certificate::new();
    let hub = hub(&certificate, &[]);
    let url = url(&hub, "");
    let run = |arguments: &[&str], trusted: &Path| {
        carafe()
            .args(arguments)
            .args(["--url", &url])
            .env("SSL_CERT_FILE", trusted)
            .output()
            .unwrap()
    };
    let published = run(&["publish", "a", "x"], &certificate.path());
    assert!(published.status.success(), "{}", String::from_utf8_lossy(&published.stderr));
    let read = run(&["subscribe", "a", "--earliest", "-n", "1"], &certificate.path());
    assert_eq!(String::from_utf8(read.stdout).unwrap(), "x\n");
    let other = Certificate::new();
    let refused = run(&["publish", "a", "x"], &other.path());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && said.contains("certificate"), "{said}");
}

#[test]
fn cleartext_is_not_spoken_where_tls_is() {
    let hub = hub(&Certificate::new(), &[]);
    let mut socket = connect(hub.address);
    socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn a_rejection_over_http_2_reaches_a_client_that_still_sends_a_body() {
    if !is_here("curl", "a_rejection_over_http_2_reaches_a_client_that_still_sends_a_body") {
        return;
    }
    let hub = Server::start(&["--event-bytes", "1KiB"]);
    let large = "x".repeat(100_000);
    let tell =
        ["--http2-prior-knowledge", "--write-out", "%{response_code} ", "--output", "/dev/null"];
    // It was lost about one time in twenty.
    for (data, path, status) in
        [("x", "/events/a/../b", "400"), ("x", "/nope", "404"), (&large, "/events/a", "413")]
    {
        for _ in 0..50 {
            let answer =
                curl(&[&tell[..], &["--path-as-is", "--data", data, &hub.url(path)]].concat());
            let text = String::from_utf8(answer.stdout).unwrap();
            assert_eq!(text.trim(), status, "{path}: {}", String::from_utf8_lossy(&answer.stderr));
        }
    }
}

#[test]
fn a_new_certificate_is_shown_after_sighup_and_a_stream_stays_open() {
    if !is_here("curl", "a_new_certificate_is_shown_after_sighup_and_a_stream_stays_open") {
        return;
    }
    renews(Server::hang_up);
}

#[test]
fn a_new_certificate_is_shown_when_its_files_change_and_a_stream_stays_open() {
    if !is_here("curl", "a_new_certificate_is_shown_when_its_files_change_and_a_stream_stays_open")
    {
        return;
    }
    renews(|_| {});
}

#[track_caller]
fn renews(tell: impl Fn(&Server)) {
    let certificate = Certificate::new();
    let old = certificate.copy("old.pem");
    let hub = hub(&certificate, &[]);
    let events = url(&hub, "/events/orders");
    let stream = curl_stream(&["--cacert", old.to_str().unwrap(), &events]);
    stream.next_line(|line| line == "event: carafe.position");

    certificate.renew();
    tell(&hub);
    let reloaded = hub.next_record(|line| line.contains("reloaded the certificate"));
    assert!(reloaded.contains(&format!("changed: {}", certificate.path().display())), "{reloaded}");
    assert!(shows(&hub, &certificate.path()) && !shows(&hub, &old));
    assert_eq!(version(&["--insecure"], &events), "2");
    stream.next_line(|line| line == "data: x");
}

#[test]
fn a_bad_new_certificate_is_reported_and_the_old_one_stays_in_use() {
    if !is_here("curl", "a_bad_new_certificate_is_reported_and_the_old_one_stays_in_use") {
        return;
    }
    let certificate = Certificate::new();
    let old = certificate.copy("old.pem");
    let hub = hub(&certificate, &[]);
    let foreign = Certificate::new();
    fs::copy(foreign.key(), certificate.key()).unwrap();
    let record = hub.next_record(|line| line.contains("cannot reload the certificate"));
    assert!(
        record.contains("ERROR") && record.contains("does not belong to the certificate in"),
        "{record}"
    );
    assert!(shows(&hub, &old));
    fs::remove_file(certificate.path()).unwrap();
    let record = hub.next_record(|line| line.contains("cannot reload the certificate"));
    assert!(record.contains("cannot read"), "{record}");
    assert!(shows(&hub, &old));
    certificate.renew();
    hub.next_record(|line| line.contains("reloaded the certificate"));
    assert!(shows(&hub, &certificate.path()));
}

#[test]
fn a_certificate_that_cannot_be_used_is_refused_at_the_start_with_exit_2() {
    let (certificate, foreign, empty) =
        (Certificate::new(), Certificate::new(), Certificate::new());
    fs::write(empty.path(), "nothing").unwrap();
    fs::write(empty.key(), "nothing").unwrap();
    let check = |certificate: &Path, key: &Path, sentence: &str| {
        let files =
            ["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
        fails(
            &[&["serve", "--anonymous", "subscribe", "--log", "memory:"], &files[..]].concat(),
            2,
            sentence,
        );
    };
    check(Path::new("nowhere.pem"), &certificate.key(), "cannot read nowhere.pem");
    check(&certificate.path(), Path::new("nowhere.pem"), "cannot read nowhere.pem");
    check(&certificate.path(), &foreign.key(), "does not belong to the certificate in");
    check(&empty.path(), &certificate.key(), "has no certificate");
    check(&certificate.path(), &empty.key(), "has no private key");
    let whole = fs::read_to_string(certificate.path()).unwrap();
    fs::write(empty.path(), &whole[..whole.len() / 2]).unwrap();
    check(&empty.path(), &certificate.key(), "is not complete PEM");
    fs::write(empty.path(), whole.replace("MII", "AAA")).unwrap();
    check(&empty.path(), &certificate.key(), "cannot be used");
    let lonely = certificate.path();
    let lonely = ["serve", "--anonymous", "subscribe", "--tls-cert", lonely.to_str().unwrap()];
    fails(&lonely, 2, "give both --tls-cert and --tls-key");
    fails(&["dev", "--tls-cert", "x", "--tls-key", "x"], 2, "unexpected argument");
}

#[test]
fn a_client_that_never_completes_its_handshake_delays_no_other_and_is_closed() {
    if !is_here("curl", "a_client_that_never_completes_its_handshake_delays_no_other_and_is_closed")
    {
        return;
    }
    let certificate = Certificate::new();
    let hub = hub(&certificate, &["--header-timeout", "2s"]);
    let silent: Vec<_> = (0..20).map(|_| connect(hub.address)).collect();
    assert!(shows(&hub, &certificate.path()));
    for mut socket in silent {
        assert_eq!(socket.read(&mut [0; 64]).unwrap(), 0);
    }
}

#[test]
fn a_client_that_sends_no_request_is_closed_in_every_version_of_http() {
    let hub = Server::start(&["--header-timeout", "300ms"]);
    for begun in [
        "",
        "P",
        "PRI * HTTP/2.0\r\n\r\nSM",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "POST /events/a HT",
    ] {
        let mut socket = connect(hub.address);
        socket.write_all(begun.as_bytes()).unwrap();
        // What the hub says first of HTTP/2 may come before the end.
        let ended = socket.read_to_end(&mut Vec::new());
        assert!(ended.is_ok(), "{begun:?}: {ended:?}");
    }
}

#[test]
fn an_unfinished_handshake_does_not_delay_the_drain() {
    let hub = hub(&Certificate::new(), &["--header-timeout", "120s", "--drain-timeout", "120s"]);
    let mut silent = connect(hub.address);
    // A handshake that has begun: a record's head, and nothing in it.
    silent.write_all(&[22, 3, 1, 2, 0]).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let process = hub.process();
    let start = Instant::now();
    process.signal(Signal::TERM);
    assert!(process.wait().success() && start.elapsed() < PATIENCE);
}

#[test]
fn a_tab_with_50_streams_on_one_origin_gets_the_event_of_each_over_http_2() {
    if !is_here("browser", "a_tab_with_50_streams_on_one_origin_gets_the_event_of_each_over_http_2")
    {
        return;
    }
    let hub = hub(&Certificate::new(), &[]);
    let tab = Process::start(node("tests/browser/streams.mjs").args([&url(&hub, "/"), "50"]));
    let failure = tab.stderr.recv_timeout(4 * PATIENCE).unwrap_or_default();
    let seen: Vec<_> = tab.stdout.iter().collect();
    assert!(tab.wait().success(), "{failure}\n{}", seen.join("\n"));
    assert_eq!(seen, [r#"{"streams":50,"protocols":["h2"]}"#]);
}
