//! Streams behind proxies that compress.

use crate::http::publish;
use crate::process::{Process, Server};
use crate::proxies::{Front, Kind, behind_each_proxy};

behind_each_proxy!(a_proxy_that_compresses_leaves_streams_alone);

/// A stream is sent as the hub wrote it, to a client that accepts compression, by a proxy that
/// compresses other responses.
fn a_proxy_that_compresses_leaves_streams_alone(kind: Kind, _test: &str) {
    const ACCEPTS: [&str; 2] = ["--header", "Accept-Encoding: gzip, zstd"];
    // Its page is large enough to be compressed.
    let hub = Server::dev();
    let front = Front::start_compressing(kind, hub.address, &[]);
    let (page, stream) = (front.url("/"), front.url("/events/orders"));
    for version in ["--http2", "--http1.1"] {
        let head = [&["--head", "--request", "GET", version, &page], &ACCEPTS[..]].concat();
        let page = String::from_utf8(front.certificate.curl(&head).stdout).unwrap().to_lowercase();
        let compresses = page.contains("content-encoding: gzip");
        assert_eq!(
            compresses,
            kind != Kind::Nginx,
            "the page, which the documented nginx passes on as it is: {page}"
        );
        let stream = [&["--include", version, &stream], &ACCEPTS[..]].concat();
        let stream = front.certificate.curl_stream(&stream);
        stream.next_line(|line| {
            assert!(!line.to_lowercase().starts_with("content-encoding"), "{line}");
            line == "event: carafe.position"
        });
        receives_at_once(&hub, &stream);
    }
}

/// nginx ignores `no-transform`, and flushes what it compresses with each event.
#[test]
fn behind_nginx_that_compresses_streams_events_arrive_at_once() {
    if !Kind::Nginx.is_here("behind_nginx_that_compresses_streams_events_arrive_at_once") {
        return;
    }
    let hub = Server::start(&[]);
    let front = Front::start_compressing(Kind::Nginx, hub.address, &[("gzip off;", "")]);
    let url = front.url("/events/orders");
    for version in ["--http2", "--http1.1"] {
        let arguments = ["--include", "--compressed", version, &url];
        let stream = front.certificate.curl_stream(&arguments);
        stream.next_line(|line| line.to_lowercase() == "content-encoding: gzip");
        stream.next_line(|line| line == "event: carafe.position");
        receives_at_once(&hub, &stream);
    }
}

#[track_caller]
fn receives_at_once(hub: &Server, stream: &Process) {
    for data in ["first", "second"] {
        publish(hub.address, "/events/orders", data);
        stream.next_line(|line| line == format!("data: {data}"));
    }
}
