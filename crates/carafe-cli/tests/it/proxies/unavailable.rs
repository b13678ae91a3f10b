//! What clients receive from a proxy while the hub does not answer.

use std::net::TcpListener;
use std::thread;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::certificate::Certificate;
use crate::clients::{is_here, next_shown, node};
use crate::http::publish;
use crate::process::{Process, Server, free_address};
use crate::proxies::{Front, Kind, behind_each_proxy};

behind_each_proxy!(
    all_events_arrive_although_sigterm_stops_the_hub_for_a_while,
    all_events_arrive_although_sigkill_stops_the_hub_for_a_while,
    a_stream_is_told_to_come_back_when_the_hub_refuses_connections,
    a_stream_is_told_to_come_back_when_the_hub_closes_connections,
    a_stream_is_told_to_come_back_when_the_hub_does_not_answer,
    other_requests_keep_their_error,
);

fn all_events_arrive_although_sigterm_stops_the_hub_for_a_while(kind: Kind, test: &str) {
    check_restart(kind, test, Signal::TERM, "127.0.0.1");
}

/// The page has another origin than the hub.
fn all_events_arrive_although_sigkill_stops_the_hub_for_a_while(kind: Kind, test: &str) {
    check_restart(kind, test, Signal::KILL, "localhost");
}

/// Chromium's `EventSource`, in a page of this host, receives each event once and in order,
/// although it meets the proxy alone at least once.
fn check_restart(kind: Kind, test: &str, signal: Signal, page_host: &str) {
    const EVENTS: usize = 20;
    if !is_here("browser", test) {
        return;
    }
    let (address, log) = (free_address(), TempDir::new().unwrap());
    let options = ["--retry", "100ms", "--allow-origin", "https://localhost:*"];
    let start = || Server::on_disk_at(address, log.path(), &options);
    let hub = start();
    let front = Front::start(kind, address);
    let page = Process::start(node("tests/browser/eventsource.mjs").args([
        &format!("https://{page_host}:{}", front.secure.port()),
        &front.url("/events/orders"),
        &EVENTS.to_string(),
    ]));
    assert_eq!(next_shown(&page).event_type, "carafe.position");

    let publish_half =
        || (0..EVENTS / 2).map(|n| publish(address, "/events/orders", &n.to_string()));
    let mut published: Vec<_> = publish_half().collect();
    let hub = hub.process();
    hub.signal(signal);
    hub.wait();
    let mut shown = comes_back_twice(&page);
    let _hub = start();
    published.extend(publish_half());
    shown.extend(std::iter::from_fn(|| page.stdout.recv().ok()));
    assert_eq!(ids(&shown), published);
    assert!(page.wait().success());
}

/// What the page prints until its stream was opened twice more. Once may be an answer of the hub
/// that has arrived late.
fn comes_back_twice(page: &Process) -> Vec<String> {
    let mut shown: Vec<_> = page.stdout.try_iter().collect();
    for _ in 0..2 {
        page.next_line(|line| {
            shown.push(line.to_owned());
            line.contains("\"open\"")
        });
    }
    shown
}

/// The IDs of the published events among what a page has printed.
fn ids(shown: &[String]) -> Vec<String> {
    let values = shown.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let events = values.filter(|value| value["event"].is_number());
    events.map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

const BOTH: [&str; 2] = ["--http2", "--http1.1"];

fn a_stream_is_told_to_come_back_when_the_hub_refuses_connections(kind: Kind, _test: &str) {
    check_streams(&Front::start(kind, free_address()), &BOTH);
}

/// Over HTTP/2, HAProxy resets the request, and Apache answers 500, whatever its configuration.
fn a_stream_is_told_to_come_back_when_the_hub_closes_connections(kind: Kind, _test: &str) {
    let hub = TcpListener::bind("127.0.0.1:0").unwrap();
    let front = Front::start(kind, hub.local_addr().unwrap());
    thread::spawn(move || hub.incoming().for_each(drop));
    let versions = match kind {
        Kind::Nginx | Kind::Caddy => &BOTH[..],
        Kind::Apache | Kind::Haproxy => &["--http1.1"],
    };
    check_streams(&front, versions);
}

/// The documented time limits of a minute are a second here.
fn a_stream_is_told_to_come_back_when_the_hub_does_not_answer(kind: Kind, _test: &str) {
    let limit = match kind {
        Kind::Nginx => ("proxy_read_timeout 60s", "proxy_read_timeout 1s"),
        Kind::Apache => ("timeout=60", "timeout=1"),
        Kind::Haproxy => ("timeout server 60s", "timeout server 1s"),
        // By default, Caddy waits for as long as the client does.
        Kind::Caddy => {
            ("flush_interval -1", "transport http {\n\t\t\tresponse_header_timeout 1s\n\t\t}")
        }
    };
    let hub = TcpListener::bind("127.0.0.1:0").unwrap();
    check_streams(&Front::start_changed(kind, hub.local_addr().unwrap(), &[limit]), &BOTH);
}

/// The same of streams of a hub that is served under this path.
#[track_caller]
pub(crate) fn check_streams_under(path: &str, front: &Front) {
    check_paths(&[&format!("{path}/events/menu")], front, &BOTH);
}

#[track_caller]
fn check_streams(front: &Front, versions: &[&str]) {
    // An extension in a topic must not decide the content type.
    let paths = ["/events/menu.html", "/events?topic=a&topic=b", "/.well-known/mercure?topic=a"];
    check_paths(&paths, front, versions);
}

/// At once, because HAProxy waits some seconds for a hub that refuses connections.
#[track_caller]
fn check_paths(paths: &[&str], front: &Front, versions: &[&str]) {
    thread::scope(|scope| {
        for path in paths {
            for version in versions {
                let (certificate, url) = (&front.certificate, front.url(path));
                scope.spawn(move || check_stream(certificate, version, &url));
            }
        }
    });
}

fn check_stream(certificate: &Certificate, version: &str, url: &str) {
    const ORIGIN: &str = "Origin: https://app.example";
    let answer = certificate.curl(&["--include", version, "--header", ORIGIN, url]);
    let text = String::from_utf8(answer.stdout).unwrap().replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap_or_default();
    let head = head.to_lowercase();
    let status = head.split(' ').nth(1);
    let failure = String::from_utf8_lossy(&answer.stderr);
    assert_eq!((status, body), (Some("200"), "retry: 2000\n\n"), "{url} {text} {failure}");
    for line in [
        "content-type: text/event-stream",
        "cache-control: no-store",
        "access-control-allow-origin: https://app.example",
        "access-control-allow-credentials: true",
    ] {
        assert!(head.lines().any(|found| found == line), "{line} is not in {head}");
    }
}

/// Publishers and probes must see that the hub does not answer.
fn other_requests_keep_their_error(kind: Kind, _test: &str) {
    let front = Front::start(kind, free_address());
    let requests: [(&str, &[&str]); 6] = [
        ("/events/orders", &["--data", "x"]),
        ("/events", &["--data", "x", "--header", "Content-Type: application/x-ndjson"]),
        ("/events/orders", &["--head"]),
        ("/healthz", &[]),
        ("/.well-known/mercure", &["--data", "topic=a"]),
        ("/.well-known/mercure/subscriptions", &[]),
    ];
    thread::scope(|scope| {
        for (path, arguments) in requests {
            let (certificate, url) = (&front.certificate, front.url(path));
            scope.spawn(move || {
                let status = status(certificate, &url, arguments);
                assert!(matches!(&*status, "502" | "503"), "{url} {arguments:?}: {status}");
            });
        }
    });
}

/// Over HTTP/1.1: curl loses the response of a server that resets an HTTP/2 request after it.
fn status(certificate: &Certificate, url: &str, arguments: &[&str]) -> String {
    let options = ["--http1.1", "--write-out", "%{response_code}", "--output", "/dev/null", url];
    let answer = certificate.curl(&[&options, arguments].concat());
    String::from_utf8(answer.stdout).unwrap()
}
