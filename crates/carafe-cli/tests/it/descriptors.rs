//! A hub that has few file descriptors.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::durable::log;
use crate::http::{Stream, connect, get, post, publish, read_head};
use crate::limits::reconnect_delay;
use crate::metrics::Metrics;
use crate::process::{Process, Server, carafe, eventually};

/// A hub with this limit on descriptors, which a shell sets.
fn hub(limit: &str, options: &[&str]) -> (Server, Vec<String>) {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limit} && exec \"$@\""), "sh"]).arg(carafe().get_program());
    command.args(["serve", "--anonymous", "subscribe,publish", "--listen", "127.0.0.1:0"]);
    command.args(["--metrics-listen", "127.0.0.1:0"]).args(options);
    command.env("RUST_LOG", "info,carafe::descriptors=debug");
    let process = Process::start(&mut command);
    let mut first_words = Vec::new();
    let hub = Server::of_hearing(process, &mut first_words);
    (hub, first_words)
}

#[test]
fn the_soft_limit_is_raised_to_the_hard_one_and_logged() {
    let (hub, words) = hub("ulimit -Sn 100 && ulimit -Hn 200", &["--log", "memory:"]);
    let raised = |word: &String| {
        word.contains("raised the limit on open files") && word.contains("from=100 to=200")
    };
    assert!(words.iter().any(raised), "{words:?}");
    assert_eq!(Metrics::of(&hub).get("process_max_fds"), 200.0);
}

#[test]
fn streams_leave_descriptors_for_others() {
    let (hub, _) = hub("ulimit -n 100", &["--log", "memory:"]);
    let metrics = Metrics::of(&hub);
    let mut streams: Vec<_> =
        (0..52).map(|_| Stream::open(hub.address, "/events/a", &[])).collect();
    reconnect_delay(&get(hub.address, "/events/a"));
    assert_eq!(metrics.limited("subscribers"), 1.0);
    assert_eq!(
        (get(hub.address, "/healthz").status, get(hub.address, "/readyz").status),
        (200, 200)
    );
    publish(hub.address, "/events/a", "x");
    assert!(streams.iter_mut().all(|stream| stream.data(1) == ["x"]));
}

/// Publishes on a connection that stays open, and gives the status.
#[track_caller]
fn publish_on(socket: &mut TcpStream, data: &str) -> u16 {
    let length = data.len();
    write!(socket, "POST /events/a HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{data}")
        .unwrap();
    let (head, mut body) = read_head(socket);
    while !body.ends_with(b"}") {
        let mut rest = [0; 256];
        let read = socket.read(&mut rest).unwrap();
        body.extend_from_slice(&rest[..read]);
    }
    head[9..12].parse().unwrap()
}

#[test]
fn silent_connections_leave_the_descriptors_of_the_log_and_are_closed_for_new_ones() {
    let (_folder, place) = log();
    let place = format!("disk:{}", place.display());
    let (hub, _) = hub(
        "ulimit -n 100",
        &["--log", &place, "--segment-bytes", "4KiB", "--history-bytes", "80KiB"],
    );
    let metrics = Metrics::of(&hub);
    let mut stream = Stream::open(hub.address, "/events/a", &[]);
    let mut publisher = connect(hub.address);
    assert_eq!(publish_on(&mut publisher, "first"), 201);

    let silent: Vec<_> = (0..150).map(|_| connect(hub.address)).collect();
    eventually("those that have waited for the longest are closed", || {
        ends(&publisher) && ends(&silent[50])
    });
    // Each segment is a new file.
    let data = "x".repeat(3000);
    for _ in 0..50 {
        assert_eq!(post(hub.address, "/events/a", &data).status, 201);
    }
    assert_eq!(
        (get(hub.address, "/healthz").status, get(hub.address, "/readyz").status),
        (200, 200)
    );
    assert_eq!(stream.data(51).last(), Some(&data), "who had a stream still has it");
    assert!(!ends(&silent[149]), "the newest have not waited for long");
    assert!(metrics.limited("idle-connections") >= 50.0);
}

#[test]
fn newcomers_are_closed_when_no_connection_waits() {
    let (hub, _) = hub("ulimit -n 100", &["--log", "memory:", "--subscribers", "unlimited"]);
    let metrics = Metrics::of(&hub);
    let mut streams = Vec::new();
    while let Some(stream) = open_unless_full(&hub) {
        streams.push(stream);
        assert!(streams.len() < 100, "each has a descriptor");
    }
    hub.next_record(|line| line.contains("connections use all descriptors and none is idle"));
    assert!(metrics.limited("descriptors") >= 1.0);
    assert_eq!(
        get(metrics.address, "/healthz").status,
        200,
        "its listener has descriptors of its own"
    );
    drop(streams.pop());
    eventually("there is room again", || get_unless_full(&hub, "/healthz"));
    publish(hub.address, "/events/a", "x");
    assert!(streams.iter_mut().all(|stream| stream.data(1) == ["x"]));
}

/// A stream, unless the hub closes the connection.
fn open_unless_full(hub: &Server) -> Option<Stream> {
    let mut socket = connect(hub.address);
    write!(socket, "GET /events/a HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
    (socket.peek(&mut [0]).ok()? > 0).then(|| Stream::answered(socket))
}

fn get_unless_full(hub: &Server, target: &str) -> bool {
    let mut socket = connect(hub.address);
    let asked = write!(socket, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut response = String::new();
    asked.is_ok()
        && socket.read_to_string(&mut response).is_ok()
        && response.starts_with("HTTP/1.1 200 ")
}

#[test]
fn a_log_that_can_open_no_more_files_refuses_publishers_until_it_can_and_ends_no_stream() {
    let (_folder, place) = log();
    let place = format!("disk:{}", place.display());
    let (hub, words) = hub("ulimit -n 80", &["--log", &place, "--segment-bytes", "4KiB"]);
    assert!(
        words
            .iter()
            .any(|word| word
                .contains("raise the limit on open files (ulimit -n), or --segment-bytes")),
        "{words:?}"
    );
    let metrics = Metrics::of(&hub);
    let mut stream = Stream::open(hub.address, "/events/a", &[]);
    let mut publisher = connect(hub.address);
    let idle: Vec<_> = (0..5).map(|_| connect(hub.address)).collect();
    let mut scrape = connect(metrics.address);
    let data = "x".repeat(3000);
    let stored = (0..200).take_while(|_| publish_on(&mut publisher, &data) == 201).count();
    assert!((10..200).contains(&stored), "{stored}");
    assert_eq!(publish_on(&mut publisher, &data), 503, "and again");
    assert_eq!(stream.data(stored).len(), stored, "who had a stream still has it");
    drop(idle);
    eventually("a publisher is taken again", || publish_on(&mut publisher, "again") == 201);
    assert_eq!(stream.data(1), ["again"]);
    write!(scrape, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    scrape.read_to_string(&mut response).unwrap();
    let met = response
        .lines()
        .find_map(|line| line.strip_prefix("carafe_limited_total{limit=\"descriptors\"} "));
    assert!(met.unwrap().parse::<f64>().unwrap() >= 2.0, "{response}");
}

/// The listener stays readable all the time, since what waits there cannot be accepted.
#[test]
fn a_hub_without_descriptors_waits_and_does_not_spin() {
    let (hub, _) = hub("true", &["--log", "memory:"]);
    let mut stream = Stream::open(hub.address, "/events/a", &[]);
    // Fewer than it has open already. The only connection has an answer that does not end, so none
    // gives way.
    let usual = limit_descriptors(&hub, Some(3));
    let mut newcomer = connect(hub.address);
    write!(newcomer, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let tries_again = || {
        hub.next_record(|line| line.contains("cannot accept connections; trying again in a second"))
    };
    tries_again();
    let (start, before, mut tries) = (Instant::now(), processor_time(&hub), 0);
    while start.elapsed() < Duration::from_secs(1) {
        tries_again();
        tries += 1;
    }
    let (used, elapsed) = (processor_time(&hub) - before, start.elapsed());
    assert!(used < elapsed / 3, "{used:?} of {elapsed:?}");
    // On a machine with much else to do, a spin takes little time, too.
    assert!(tries <= elapsed.as_secs() + 2, "{tries} in {elapsed:?}");
    limit_descriptors(&hub, usual);
    assert!(
        read_head(&mut newcomer).0.starts_with("HTTP/1.1 200 "),
        "it has waited in the listener's queue"
    );
    publish(hub.address, "/events/a", "x");
    assert_eq!(stream.data(1), ["x"]);
}

/// Sets the soft limit of a running hub, and gives what it was.
fn limit_descriptors(hub: &Server, soft: Option<u64>) -> Option<u64> {
    let pid = Pid::from_raw(i32::try_from(hub.id()).unwrap());
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = Rlimit { current: soft, maximum };
    prlimit(pid, Resource::Nofile, limit).unwrap().current
}

/// Of all its threads, so far.
fn processor_time(hub: &Server) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", hub.id())).unwrap();
    // After the name, which may have spaces: proc_pid_stat(5).
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
    Duration::from_millis(ticks.sum::<u64>() * 1000 / rustix::param::clock_ticks_per_second())
}

/// Whether the server has closed the connection: it says nothing on one that is idle.
fn ends(mut socket: &TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    match socket.read(&mut [0; 1]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}
