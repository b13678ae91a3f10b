//! Streaming ingest through proxies.

use std::io::Write;
use std::process::{ChildStdin, Command};
use std::thread;
use std::time::Duration;

use crate::process::{Process, Server};
use crate::proxies::{Front, Kind, behind_each_proxy};

behind_each_proxy!(
    events_of_an_open_body_arrive_at_once,
    a_slow_body_is_not_cut_off,
    an_answer_arrives_although_the_body_is_open,
);

const BOTH: [&str; 2] = ["--http2", "--http1.1"];

/// Apache reads the first 16 KiB of a body, or all of it, before it asks the hub. So its producers
/// begin with a comment of that length.
fn events_of_an_open_body_arrive_at_once(kind: Kind, _test: &str) {
    let hub = Server::start(&[]);
    let front = Front::start(kind, hub.address);
    for version in BOTH {
        let stream = front.stream(version);
        let (client, mut input) = upload(&front, version, "/events/orders", "text/event-stream");
        if kind == Kind::Apache {
            writeln!(input, ":{}", " ".repeat(16 << 10)).unwrap();
        }
        for data in ["first", "second"] {
            write!(input, "data: {data}\n\n").unwrap();
            stream.next_line(|line| line == format!("data: {data}"));
        }
        drop(input);
        client.next_line(|line| line.contains("\"stored\":2,"));
    }
}

fn a_slow_body_is_not_cut_off(kind: Kind, _test: &str) {
    let hub = Server::start(&[]);
    let front = Front::start(kind, hub.address);
    for version in BOTH {
        let (client, mut input) = upload(&front, version, "/events/orders", "text/event-stream");
        // Twice as long as the Apache of this test lets a body take that is not for the hub.
        for _ in 0..20 {
            input.write_all(b":\n").unwrap();
            thread::sleep(Duration::from_millis(100));
        }
        write!(input, "data: last\n\n").unwrap();
        drop(input);
        client.next_line(|line| line.contains("\"stored\":1,"));
    }
}

fn an_answer_arrives_although_the_body_is_open(kind: Kind, _test: &str) {
    let hub = Server::start(&[]);
    let front = Front::start(kind, hub.address);
    for version in BOTH {
        let (client, mut input) = upload(&front, version, "/events/orders", "application/x-ndjson");
        input.write_all(b"{\"data\":1}\nno JSON\n").unwrap();
        // Apache sends the answer when it has read the body.
        let _open = (kind != Kind::Apache).then_some(input);
        client.next_line(|line| line.contains("\"stored\":1,") && line.contains("\"line\":2"));
    }
}

/// curl sends its standard input as it arrives.
fn upload(front: &Front, version: &str, path: &str, kind: &str) -> (Process, ChildStdin) {
    let mut program = Command::new("curl");
    program.args(["--silent", "--show-error", "--no-buffer", "--request", "POST", version]);
    program.arg("--cacert").arg(front.certificate.path());
    program.args(["--header", &format!("Content-Type: {kind}"), "--upload-file", "."]);
    Process::start_with_input(program.arg(front.url(path)))
}
