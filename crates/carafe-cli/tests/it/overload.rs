//! Clients that mean no good, while others connect and get their events.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpSocket;
use tokio::runtime;

use crate::certificate::curl;
use crate::clients::is_here;
use crate::http::{Stream, get, publish, send};
use crate::process::{PATIENCE, Server, eventually};

/// How many of the slow there are.
const SLOW: u32 = 5000;

/// Takes as many descriptors as the system gives.
fn raise_descriptors(needed: u64) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    assert!(
        maximum.is_none_or(|most| most >= needed),
        "this needs {needed} open files: raise ulimit -Hn"
    );
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// Connections that each come from another address of this machine, and all from one port: with one
/// of its own each, few would be left for the other tests.
fn connect_from_everywhere(to: SocketAddr, count: u32) -> Vec<TcpStream> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let first = Ipv4Addr::new(127, 1, 0, 1).to_bits();
    let mut port = 0;
    let mut connect = async |number| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((IpAddr::from(Ipv4Addr::from_bits(first + number)), port).into()).unwrap();
        port = socket.local_addr().unwrap().port();
        socket.connect(to).await.unwrap().into_std().unwrap()
    };
    let connections: Vec<_> = (0..count).map(|number| runtime.block_on(connect(number))).collect();
    connections.iter().for_each(|connection| connection.set_nonblocking(false).unwrap());
    connections
}

#[test]
fn five_thousand_half_open_heads_keep_no_client_from_connecting_and_from_events() {
    raise_descriptors(u64::from(SLOW) + 1000);
    let (hub, metrics) = Server::with_metrics(&["--header-timeout", "10m"]);
    let mut before = Stream::open(hub.address, "/events/a", &[]);
    let mut slow = connect_from_everywhere(hub.address, SLOW);
    slow.iter_mut().for_each(|socket| socket.write_all(b"GET /events/a HTTP/1.1\r\nHo").unwrap());
    // Some may still wait to be accepted.
    eventually("all of them are open", || metrics.get("process_open_fds") >= f64::from(SLOW));

    let mut healthy: Vec<_> =
        (0..50).map(|_| Stream::open(hub.address, "/events/a", &[])).collect();
    for round in 0..3 {
        let data = round.to_string();
        publish(hub.address, "/events/a", &data);
        assert!(
            healthy.iter_mut().chain([&mut before]).all(|stream| stream.data(1) == [&data[..]])
        );
        slow.iter_mut().for_each(|socket| socket.write_all(b"s").unwrap());
    }
    assert_eq!(
        (get(hub.address, "/healthz").status, get(hub.address, "/readyz").status),
        (200, 200)
    );
    assert_eq!(metrics.get("carafe_subscriptions"), 51.0);
    drop(slow);
    let left = "carafe_streams_closed_total{path=\"shard\",reason=\"left\"}";
    assert_eq!(metrics.get(left), 0.0, "none of the healthy was cut");
}

#[test]
fn half_open_heads_are_closed_in_time_and_counted() {
    raise_descriptors(1000);
    let (hub, metrics) = Server::with_metrics(&["--header-timeout", "300ms"]);
    let slow = connect_from_everywhere(hub.address, 200);
    slow.iter().for_each(|mut socket| socket.write_all(b"GET / HTTP/1.1\r\nHo").unwrap());
    metrics.wait_for("carafe_limited_total{limit=\"header-timeout\"}", 200.0);
    for mut socket in slow {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // Bytes may come before the end, or the end as a reset, since it was sent more than was
        // read.
        let _ = std::io::copy(&mut socket, &mut std::io::sink());
    }
}

/// Heads that no honest client sends.
fn bombs() -> [(&'static str, String); 4] {
    let head = |lines: String| format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{lines}\r\n");
    [
        ("many headers", head("X: 1\r\n".repeat(2000))),
        ("one huge header", head(format!("X: {}\r\n", "x".repeat(8 << 20)))),
        ("many cookies", head(format!("Cookie: {}\r\n", "a=b; ".repeat(800)).repeat(50))),
        ("a huge target", format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(1 << 20))),
    ]
}

/// Bytes of memory that the program has.
fn resident(hub: &Server) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{}/statm", hub.id())).unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn header_bombs_are_refused_and_take_no_memory() {
    let (hub, metrics) = Server::with_metrics(&[]);
    let throw = |times: usize| {
        for (name, bomb) in bombs() {
            for _ in 0..times {
                // The response may be lost: a client that still sends gets a reset. The connection
                // is closed all the same.
                let answer = send(hub.address, bomb.as_bytes());
                assert!(matches!(answer.status, 0 | 400 | 414 | 431), "{name}: {}", answer.head);
            }
        }
    };
    throw(5);
    let before = resident(&hub);
    throw(25);
    let grown = resident(&hub).saturating_sub(before);
    assert!(grown < 32 << 20, "100 bombs have left {grown} bytes");
    // A connection is counted when its task ends, which is after its client has the response.
    eventually("all are counted", || metrics.limited("header-bytes") >= 120.0);
    publish(hub.address, "/events/a", "still here");
}

#[test]
fn a_header_bomb_over_http_2_is_refused_and_others_do_not_notice() {
    if !is_here("curl", "a_header_bomb_over_http_2_is_refused_and_others_do_not_notice") {
        return;
    }
    let hub = Server::start(&[]);
    let mut other = Stream::open(hub.address, "/events/a", &[]);
    let (url, bomb) = (hub.url("/healthz"), format!("X: {}", "x".repeat(4000)));
    let options =
        ["--http2-prior-knowledge", "--write-out", "%{http_code}", "--output", "/dev/null", &url];
    let answer = curl(&[&options[..], &["--header", &bomb].repeat(40)].concat());
    let status = String::from_utf8(answer.stdout).unwrap();
    assert!(matches!(&status[..], "000" | "431"), "{status}");
    publish(hub.address, "/events/a", "still here");
    assert_eq!(other.data(1), ["still here"]);
}
