//! The hub's memory stays below what its limits come to, whatever is asked of it at once.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;

use crate::durable::log;
use crate::http::{Stream, connect, post, request};
use crate::metrics::Metrics;
use crate::process::{Server, eventually, repository};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The limits that memory follows from, in bytes or numbers.
struct Limits {
    body_bytes_in_flight: usize,
    waiting_bytes: usize,
    ring_bytes: usize,
    history_bytes_in_memory: usize,
    segment_bytes: usize,
    readers: usize,
    subscribers: usize,
    event_bytes: usize,
    header_bytes: usize,
    replays: usize,
    latest_events: usize,
    snapshot_bytes: usize,
    ended_topics: usize,
    erasures: usize,
    compaction: usize,
    complex_patterns: usize,
    revocations: usize,
    /// Clients that are connected, those with streams too.
    connections: usize,
    over_http_2: usize,
    requests_over_http_2: usize,
}

/// What takes memory, the most of it as docs/OPERATIONS.md has it, and as a number.
type Row = (&'static str, &'static str, fn(&Limits) -> usize);

/// The table in docs/OPERATIONS.md.
const TABLE: &[Row] = &[
    ("the program", "48 MiB", |_| 48 * MIB),
    ("bodies in flight", "`--body-bytes-in-flight`", |limits| limits.body_bytes_in_flight),
    (
        "events that wait to be stored, and those that are being stored",
        "`--waiting-bytes` + 32 MiB + `--body-bytes-in-flight`",
        |limits| limits.waiting_bytes + 32 * MIB + limits.body_bytes_in_flight,
    ),
    ("recent events, and their topics", "4 × `--ring-bytes`", |limits| 4 * limits.ring_bytes),
    ("history, if it is in memory", "3 × `--history-bytes`", |limits| {
        3 * limits.history_bytes_in_memory
    }),
    ("index of the newest segment", "6 × `--segment-bytes`", |limits| 6 * limits.segment_bytes),
    ("indexes of older segments", "32 MiB + (`--readers` + 1) × `--segment-bytes`", |limits| {
        32 * MIB + (limits.readers + 1) * limits.segment_bytes
    }),
    ("streams", "`--subscribers` × (256 KiB + 7 × `--event-bytes`)", |limits| {
        limits.subscribers * (256 * KIB + 7 * limits.event_bytes)
    }),
    (
        "streams that read history",
        "(`--replays` + `--readers`) × (128 KiB + 8 × `--event-bytes`)",
        |limits| (limits.replays + limits.readers) * (128 * KIB + 8 * limits.event_bytes),
    ),
    (
        "searches for snapshots, of which 8 run at once",
        "8 × (2 MiB + `--latest-events` × 128 bytes)",
        |limits| 8 * (2 * MIB + 128 * limits.latest_events),
    ),
    ("snapshots that clients have not read", "`--snapshot-bytes`", |limits| limits.snapshot_bytes),
    (
        "ended topics: 175 bytes each, and names of up to 1 KiB",
        "`--ended-topics` × 1280 bytes",
        |limits| limits.ended_topics * 1280,
    ),
    ("erasures, with the names of their topics", "`--erasures` × 1536 bytes", |limits| {
        limits.erasures * 1536
    }),
    ("compaction, while it runs with `--compact`", "112 MiB", |limits| limits.compaction),
    ("complex patterns", "`--complex-patterns` × 2 MiB", |limits| {
        limits.complex_patterns * 2 * MIB
    }),
    ("revocations", "`--revocations` × 8 KiB", |limits| limits.revocations * 8 * KIB),
    ("connections", "48 KiB + `--header-bytes` each; 96 KiB more with TLS", |limits| {
        limits.connections * (48 * KIB + limits.header_bytes)
    }),
    (
        "connections over HTTP/2",
        "512 KiB more each, and 16 KiB for each request that is open",
        |limits| limits.over_http_2 * 512 * KIB + limits.requests_over_http_2 * 16 * KIB,
    ),
];

const LIMITS: Limits = Limits {
    body_bytes_in_flight: 8 * MIB,
    waiting_bytes: 4 * MIB,
    ring_bytes: 4 * MIB,
    history_bytes_in_memory: 0,
    segment_bytes: 2 * MIB,
    readers: 2,
    subscribers: 200,
    event_bytes: 16 * KIB,
    header_bytes: 16 * KIB,
    replays: 8,
    latest_events: 1000,
    snapshot_bytes: MIB,
    ended_topics: 100,
    erasures: 100,
    compaction: 0,
    complex_patterns: 8,
    revocations: 8,
    connections: 0,
    over_http_2: 20,
    requests_over_http_2: 2000,
};

impl Limits {
    /// The options of a hub with these limits.
    fn options(&self) -> Vec<String> {
        let bytes = [
            ("body-bytes-in-flight", self.body_bytes_in_flight),
            ("waiting-bytes", self.waiting_bytes),
            ("ring-bytes", self.ring_bytes),
            ("segment-bytes", self.segment_bytes),
            ("event-bytes", self.event_bytes),
            ("header-bytes", self.header_bytes),
            ("snapshot-bytes", self.snapshot_bytes),
            ("batch-bytes", 2 * MIB),
            ("history-bytes", 16 * MIB),
        ];
        let numbers = [
            ("readers", self.readers),
            ("subscribers", self.subscribers),
            ("replays", self.replays),
            ("latest-events", self.latest_events),
            ("ended-topics", self.ended_topics),
            ("erasures", self.erasures),
            ("complex-patterns", self.complex_patterns),
            ("revocations", self.revocations),
        ];
        let bytes = bytes.map(|(name, bytes)| format!("--{name}={bytes}B"));
        let numbers = numbers.map(|(name, number)| format!("--{name}={number}"));
        bytes.into_iter().chain(numbers).collect()
    }

    /// The most memory that the hub takes.
    fn memory(&self) -> usize {
        TABLE.iter().map(|(_, _, of)| of(self)).sum()
    }
}

#[test]
fn the_table_in_the_docs_is_the_one_that_is_tested() {
    let page = fs::read_to_string(repository("docs/OPERATIONS.md")).unwrap();
    let (_, section) = page.split_once("## Memory\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    let tested: Vec<_> =
        TABLE.iter().map(|(what, most, _)| format!("| {what} | {most} |")).collect();
    assert_eq!(rows, tested);
}

/// What was opened, which stays so.
#[derive(Default)]
struct Held {
    sockets: Vec<TcpStream>,
    streams: Vec<Stream>,
}

impl Held {
    /// Connects as another client each time.
    fn say(&mut self, hub: &Server, bytes: impl AsRef<[u8]>) {
        let mut socket = connect(hub.address);
        socket.write_all(bytes.as_ref()).unwrap();
        self.sockets.push(socket);
    }

    fn connections(&self) -> usize {
        self.sockets.len() + self.streams.len()
    }
}

/// As many streams as there may be: by a topic of their own, by patterns, and some that are never
/// read.
fn open_streams(hub: &Server, held: &mut Held) {
    for number in 0..LIMITS.complex_patterns {
        let target = format!("/events?pattern=a-{number}-:x(y%7B1,400%7D)/*");
        held.streams.push(Stream::open(hub.address, &target, &[]));
    }
    for number in held.streams.len()..LIMITS.subscribers / 2 {
        let target = format!("/events/own/{number}?pattern=own/{number}/*&topic=other/{number}");
        held.streams.push(Stream::open(hub.address, &target, &[]));
    }
    while held.streams.len() < LIMITS.subscribers {
        held.streams.push(Stream::open(hub.address, "/events?pattern=*", &[]));
    }
}

/// Small events to very many topics, and events as large as they may be, from several clients at
/// once.
fn publish(address: SocketAddr, rounds: usize) {
    let batch = |round: usize| -> String {
        let line = |number| {
            format!("{{\"topic\":\"t/{round}/{number}\",\"data\":\"\",\"id\":\"{number}\"}}\n")
        };
        (0..2500).map(line).collect()
    };
    thread::scope(|scope| {
        for publisher in 0..4 {
            scope.spawn(move || {
                for round in 0..rounds {
                    let ndjson = ["Content-Type: application/x-ndjson"];
                    let lines = batch(publisher * rounds + round);
                    let answer = request(address, "POST", "/events", &ndjson, lines.as_bytes());
                    assert!(matches!(answer.status, 201 | 503), "{}", answer.body);
                    let target = format!("/events/large/{publisher}");
                    let answer = post(address, &target, &"x".repeat(LIMITS.event_bytes));
                    assert!(matches!(answer.status, 201 | 503), "{}", answer.body);
                }
            });
        }
    });
}

/// As many topics end as the hub may remember, each with a long name.
fn end_topics(address: SocketAddr) {
    for number in 0..LIMITS.ended_topics {
        let target = format!("/events/{}/{number}?end=done", "e".repeat(KIB - 8));
        assert_eq!(post(address, &target, "").status, 201);
    }
    assert_eq!(post(address, "/events/one-more?end=done", "").status, 503);
}

/// More streams that read history than may at once: they take the places of others, which the hub
/// first has to see leave.
fn replay(hub: &Server, metrics: Metrics, held: &mut Held) {
    let streams = 4 * LIMITS.replays;
    let others = LIMITS.subscribers - streams;
    held.streams.truncate(others);
    metrics.wait_until(|metrics| metrics.get("carafe_subscriptions") <= others as f64);
    for number in 0..streams {
        let request = format!(
            "GET /events?pattern=t/:a/{number}&pattern=large/*&earliest HTTP/1.1\r\nHost: x\r\n\r\n"
        );
        held.say(hub, request);
    }
}

/// Bodies that never end, of many clients and of all kinds. Threads send what the hub takes of them
/// until the end.
fn send_bodies(hub: &Server, held: &mut Held) {
    let line = format!("{{\"topic\":\"a\",\"data\":\"{}\"}}\n", "x".repeat(KIB));
    let lines = line.repeat(2 * KIB);
    for number in 0..150 {
        let (target, kind) = match number % 5 {
            0 => ("/events/a", "text/plain"),
            1 => ("/.well-known/mercure", "application/x-www-form-urlencoded"),
            _ => ("/events", "application/x-ndjson"),
        };
        let (bytes, length) = match number % 5 {
            0 | 1 => (LIMITS.event_bytes / 2, "Transfer-Encoding: chunked".into()),
            _ => (2 * MIB - 1, format!("Content-Length: {}", 2 * MIB)),
        };
        let mut body = format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.{number}\r\nContent-Type: {kind}\r\n{length}\r\n\r\n"
        );
        if number % 5 < 2 {
            body += &format!("{bytes:x}\r\n");
        }
        body += &lines[..bytes];
        let socket = connect(hub.address);
        let mut sender = socket.try_clone().unwrap();
        thread::spawn(move || sender.write_all(body.as_bytes()));
        held.sockets.push(socket);
    }
}

/// Clients that say over HTTP/2 as much as they may before any of it is read, in a hundred requests
/// each.
fn send_bodies_over_http_2(hub: &Server, held: &mut Held) {
    // RFC 9113, 3.4 and 4.1: the preface, settings, and frames of a length, kind, flags and stream.
    let frame = |kind: u8, flags: u8, stream: u32, content: &[u8]| {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
    };
    // RFC 7541, appendix A: POST, http, and a path and an authority in letters.
    let head = b"\x83\x86\x04\x09/events/a\x01\x01x";
    for _ in 0..LIMITS.over_http_2 {
        let mut socket = connect(hub.address);
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        socket.write_all(&[preface, &frame(4, 0, 0, b"")[..]].concat()).unwrap();
        // More than 64 KiB may be sent once the hub has said so, with its own settings.
        assert!(socket.read(&mut [0; 1024]).unwrap() > 0);
        for number in 0..100 {
            let head = frame(1, 4, 2 * number + 1, head);
            socket
                .write_all(&[head, frame(0, 0, 2 * number + 1, &[b'x'; 2 * KIB])].concat())
                .unwrap();
        }
        held.sockets.push(socket);
    }
}

/// Clients that say nothing, and heads that never end.
fn keep_silent(hub: &Server, held: &mut Held) {
    for number in 0..200 {
        let head = format!("GET /events/a HTTP/1.1\r\nHost: x\r\nX: {}", "x".repeat(15 * KIB));
        held.say(hub, if number % 2 == 0 { head.as_bytes() } else { b"" });
    }
}

#[test]
fn all_limits_at_once_take_no_more_memory_than_the_formula_says() {
    let (_folder, place) = log();
    let options = LIMITS.options();
    let more = ["--mercure", "--trusted-proxies", "127.0.0.1", "--metrics-listen", "127.0.0.1:0"];
    let times = [
        "--header-timeout",
        "60s",
        "--body-timeout",
        "60s",
        "--write-timeout",
        "60s",
        "--heartbeat",
        "1s",
    ];
    let options: Vec<_> = options.iter().map(String::as_str).chain(more).chain(times).collect();
    let hub = Server::on_disk(&place, &options);
    let metrics = Metrics::of(&hub);
    let mut held = Held::default();
    keep_silent(&hub, &mut held);
    open_streams(&hub, &mut held);
    publish(hub.address, 10);
    end_topics(hub.address);
    replay(&hub, metrics, &mut held);
    send_bodies(&hub, &mut held);
    send_bodies_over_http_2(&hub, &mut held);
    metrics.wait_until(|metrics| metrics.limited("body-bytes-in-flight") > 0.0);
    eventually("streams wait for their turn to read history, or have had it", || {
        metrics.get("carafe_replays_waited_total") > 0.0 || metrics.get("carafe_replays") > 0.0
    });
    let limits = Limits { connections: held.connections() + 8, ..LIMITS };
    let (most, allowed) = (hub.memory("VmHWM"), limits.memory());
    println!("{} MiB of {} MiB", most / MIB, allowed / MIB);
    assert!(most <= allowed, "{most} bytes, and the formula says {allowed}");
    held.sockets.iter().for_each(|socket| drop(socket.shutdown(Shutdown::Both)));
}
