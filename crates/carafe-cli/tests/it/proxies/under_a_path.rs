//! A hub behind a proxy that serves it under a path.

use std::fs;

use crate::clients::{is_here, node};
use crate::process::{Process, Server, free_address, repository};
use crate::proxies::unavailable::check_streams_under;
use crate::proxies::{Front, Kind, behind_each_proxy};

behind_each_proxy!(
    a_hub_with_a_base_path_needs_no_change_but_the_paths_of_streams,
    the_console_works_under_a_path_that_the_proxy_removes,
);

/// Texts of a documented configuration, and what to write instead.
type Changes = &'static [(&'static str, &'static str)];

fn a_hub_with_a_base_path_needs_no_change_but_the_paths_of_streams(kind: Kind, _test: &str) {
    let hub = Server::start(&["--base-path", "/sse"]);
    let front = Front::start_changed(kind, hub.address, paths_of_streams(kind));
    forwards_a_topic(&front);
    let gone = Front::start_changed(kind, free_address(), paths_of_streams(kind));
    check_streams_under("/sse", &gone);
}

fn the_console_works_under_a_path_that_the_proxy_removes(kind: Kind, test: &str) {
    if !is_here("browser", test) {
        return;
    }
    let hub = Server::dev();
    let front = Front::start_changed(kind, hub.address, &removal(kind));
    forwards_a_topic(&front);
    let page = Process::start(
        node("tests/browser/console.mjs").args([&*front.url("/sse/"), "publishesByKeyboard"]),
    );
    let kept: Vec<_> = page.stdout.iter().collect();
    let failures: Vec<_> = page.stderr.iter().collect();
    assert_eq!(kept.len(), 1, "{kept:?} {failures:?}");
    assert!(page.wait().success());
    let gone = Front::start_changed(kind, free_address(), &removal(kind));
    check_streams_under("/sse", &gone);
}

#[track_caller]
fn forwards_a_topic(front: &Front) {
    const PATH: &str = "/sse/events/https%3A%2F%2Fexample.org%2F%2Forders";
    let stream = front
        .certificate
        .curl_stream(&[&front.url("/sse/events?topic=https://example.org//orders")]);
    stream.next_line(|line| line == "event: carafe.position");
    front.publish("--http2", PATH, &["--data", "one"]);
    stream.next_line(|line| line == "data: one");
}

fn paths_of_streams(kind: Kind) -> Changes {
    match kind {
        Kind::Nginx => &[("^GET /(events", "^GET /sse/(events")],
        Kind::Caddy => &[(
            "path /events /events/* /.well-known/mercure",
            "path /sse/events /sse/events/* /sse/.well-known/mercure",
        )],
        Kind::Apache => &[("\"^/(events", "\"^/sse/(events")],
        Kind::Haproxy => &[
            (
                "{ path /events /.well-known/mercure }",
                "{ path /sse/events /sse/.well-known/mercure }",
            ),
            ("{ path_beg /events/ }", "{ path_beg /sse/events/ }"),
        ],
    }
}

/// What removes the path, with the change above. HAProxy decides after it.
fn removal(kind: Kind) -> Vec<(&'static str, &'static str)> {
    let removal: Changes = match kind {
        Kind::Nginx => &[
            (
                "map \"$request_method $uri\"",
                "map $request_uri $hub_uri { \"~^/sse(/.*)$\" $1; }\n\
                 map \"$request_method $uri\"",
            ),
            ("proxy_pass http://carafe;", "proxy_pass http://carafe$hub_uri;"),
        ],
        Kind::Caddy => &[("reverse_proxy 127", "uri strip_prefix /sse\n\treverse_proxy 127")],
        Kind::Apache => &[("ProxyPass / http", "ProxyPass /sse/ http")],
        Kind::Haproxy => {
            return vec![(
                "use_backend streams if { method GET } { path /events",
                "http-request replace-path ^/sse(/.*) \\1\n    \
                 use_backend streams if { method GET } { path /events",
            )];
        }
    };
    [removal, paths_of_streams(kind)].concat()
}

#[test]
fn the_documentation_has_the_changes_that_are_tested() {
    let page = fs::read_to_string(repository("docs/PROXIES.md")).unwrap();
    for kind in [Kind::Nginx, Kind::Caddy, Kind::Apache, Kind::Haproxy] {
        for (_, to) in paths_of_streams(kind).iter().chain(&removal(kind)) {
            for line in to.lines() {
                assert!(page.contains(line.trim()), "docs/PROXIES.md lacks `{line}`");
            }
        }
    }
}
