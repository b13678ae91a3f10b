//! Streaming ingest through proxies.

use std::io::Write;
use std::process::{ChildStdin, Command};

use crate::process::{Process, Server};
use crate::proxies::{Front, Kind, behind_each_proxy};

behind_each_proxy!(
    events_of_an_open_body_arrive_at_once,
    an_answer_arrives_although_the_body_is_open,
);

const BOTH: [&str; 2] = ["--http2", "--http1.1"];

/// Apache reads the first 16 KiB of a body, or all of it, before it asks the hub.
fn events_of_an_open_body_arrive_at_once(kind: Kind, _test: &str) {
    let hub = Server::start(&[]);
    let front = Front::start(kind, hub.address);
    for version in BOTH {
        let stream = front.stream(version);
        let (client, mut input) =
            upload(&front, version, "/events/orders?split=lines", "text/plain");
        for data in ["first", "second"] {
            writeln!(input, "{data}").unwrap();
            if kind != Kind::Apache {
                stream.next_line(|line| line == format!("data: {data}"));
            }
        }
        drop(input);
        client.next_line(|line| line.contains("\"stored\":2,"));
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
