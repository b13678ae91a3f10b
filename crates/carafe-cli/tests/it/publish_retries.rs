//! `carafe publish` while the hub is away.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::cli::{fails, run};
use crate::http::{Stream, publish};
use crate::process::{Server, carafe, own_address};

const RESTARTS: usize = 10;
const LINES: usize = 200;

/// `tail -f FILE | carafe publish log`
struct Pipe {
    tail: Child,
    publisher: Child,
}

impl Pipe {
    fn start(file: &Path, url: &str) -> Self {
        let mut tail = Command::new("tail");
        tail.args(["-n", "+1", "-f"]).arg(file).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut tail = tail.spawn().unwrap();
        let lines = tail.stdout.take().unwrap();
        let mut publisher = carafe();
        publisher.args(["publish", "log", "--url", url]).stdin(lines).stderr(Stdio::piped());
        Self { tail, publisher: publisher.spawn().unwrap() }
    }

    /// Ends the input, and returns what the publisher said after it has succeeded.
    fn finish(mut self) -> String {
        self.tail.kill().unwrap();
        self.tail.wait().unwrap();
        let output = self.publisher.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        said
    }
}

struct AppLog {
    file: File,
    lines: Vec<String>,
}

impl AppLog {
    fn append(&mut self, count: usize) {
        for _ in 0..count {
            self.lines.push(format!("line {}", self.lines.len()));
            writeln!(self.file, "{}", self.lines.last().unwrap()).unwrap();
        }
    }
}

fn history(at: SocketAddr) -> Stream {
    Stream::open(at, "/events/log?earliest", &[])
}

#[test]
fn a_pipe_loses_and_duplicates_no_line_while_the_hub_is_killed_ten_times() {
    let folder = tempfile::tempdir().unwrap();
    let (path, data) = (folder.path().join("app.log"), folder.path().join("data"));
    let file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    let mut log = AppLog { file, lines: Vec::new() };
    let hub = Server::on_disk_at(own_address(), &data, &[]);
    let at = hub.address;
    hub.kill();
    let pipe = Pipe::start(&path, &format!("http://{at}"));
    for _ in 0..RESTARTS {
        let before = log.lines.len();
        log.append(LINES);
        let hub = Server::on_disk_at(at, &data, &[]);
        log.append(LINES);
        // At least one line of this round is stored. Others are on their way when the hub is
        // killed.
        assert_eq!(history(at).data(before + 1).len(), before + 1);
        hub.kill();
        log.append(LINES);
    }
    let _hub = Server::on_disk_at(at, &data, &[]);
    assert_eq!(history(at).data(log.lines.len()).len(), log.lines.len());
    let said = pipe.finish();
    assert!(said.contains("; trying again\ncarafe: published\n"), "{said}");
    publish(at, "/events/log", "end");
    let stored = history(at).data(log.lines.len() + 1);
    let expected = log.lines.iter().map(String::as_str).chain(["end"]);
    assert!(stored.iter().map(String::as_str).eq(expected), "{stored:?}");
}

#[test]
fn an_event_waits_for_the_hub_until_the_timeout_or_not_at_all() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    for option in [&["--no-retry"][..], &["--timeout", "1ms"]] {
        let sentence = format!("cannot connect to {url}/events: Connection refused");
        fails(&[&["publish", "a", "x", "--url", &url], option].concat(), 1, &sentence);
    }
}

#[test]
fn lines_beyond_a_limit_on_batches_are_published_in_smaller_batches() {
    let hub = Server::start(&["--publish-rate", "1000000/s", "--publish-burst", "30"]);
    let lines: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    let published = run(&["publish", "log", "--url", &hub.url("")], &lines.join("\n"));
    assert!(published.status.success(), "{}", String::from_utf8_lossy(&published.stderr));
    assert_eq!(history(hub.address).data(100), lines);
    // One line that is too large is an error.
    let small = Server::start(&["--event-bytes", "10"]);
    let refused = run(&["publish", "log", "--url", &small.url("")], "01234567890");
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("raise --event-bytes"), "{said}");
}
