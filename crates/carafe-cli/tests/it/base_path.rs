//! A hub below a path of its own.

use crate::clients::{is_here, node};
use crate::http::{Stream, get, publish};
use crate::process::{PATIENCE, Process, Server, carafe};

fn dev() -> Server {
    let options =
        ["dev", "--log", "memory:", "--listen", "127.0.0.1:0", "--base-path", "/live/sse"];
    Server::of(Process::start(carafe().args(options)))
}

#[test]
fn all_endpoints_are_below_the_base_path_and_health_checks_at_the_root_too() {
    let hub = Server::start(&["--base-path", "/sse/", "--mercure"]);
    let mut stream = Stream::open(hub.address, "/sse/events/a%2Fb", &[]);
    publish(hub.address, "/sse/events/a/b", "poured");
    assert_eq!(stream.data(1), ["poured"]);
    let mut mercure =
        Stream::open(hub.address, "/sse/.well-known/mercure?topic=a/b&lastEventID=earliest", &[]);
    assert_eq!(mercure.data(1), ["poured"]);
    for (path, status) in [
        ("/sse/", 200),
        ("/sse/healthz", 200),
        ("/sse/readyz", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/", 404),
        ("/events/a", 404),
        ("/sse/nothing", 404),
        ("/ssenothing", 404),
    ] {
        let answer = get(hub.address, path);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
    }
}

#[test]
fn the_page_below_a_base_path_has_a_slash_at_its_end() {
    let hub = dev();
    let moved = get(hub.address, "/live/sse?topic=a");
    assert_eq!((moved.status, moved.header("location")), (308, Some("/live/sse/?topic=a")));
    let page = get(hub.address, "/live/sse/").body;
    let links: Vec<_> = page
        .split(['"'])
        .filter(|part| [".css", ".js", ".svg"].iter().any(|end| part.ends_with(end)))
        .collect();
    assert!(links.len() >= 3, "{page}");
    for link in links {
        assert_eq!(get(hub.address, &format!("/live/sse/{link}")).status, 200, "{link}");
    }
}

#[test]
fn a_base_path_that_is_none_is_an_error() {
    let hub = Process::start(carafe().args(["dev", "--base-path", "sse"]));
    let line = hub.next_record(|line| line.contains("--base-path"));
    assert!(line.contains("expected a path such as /sse"), "{line}");
    assert_eq!(hub.wait().code(), Some(2));
}

#[test]
fn the_console_works_below_a_base_path() {
    if !is_here("browser", "the_console_works_below_a_base_path") {
        return;
    }
    let hub = dev();
    for part in ["stream", "forms"] {
        let mut script = node("tests/browser/console.mjs");
        let page = Process::start(script.args([&hub.url("/live/sse/"), part]));
        let failure = page.stderr.recv_timeout(12 * PATIENCE).unwrap_or_default();
        let seen: Vec<_> = page.stdout.iter().collect();
        assert!(page.wait().success(), "{failure}\n{}", seen.join("\n"));
    }
}
