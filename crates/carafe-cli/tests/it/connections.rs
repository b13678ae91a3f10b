//! How many connections a client may have, and which are closed.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::http::{Stream, connect, get, read_head};
use crate::limits::reconnect_delay;
use crate::process::{PATIENCE, Server, eventually};

/// The answer to a health check on this connection; `None` if it is closed.
fn ask(mut socket: &TcpStream) -> Option<String> {
    write!(socket, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
    if socket.peek(&mut [0]).ok()? == 0 {
        return None;
    }
    Some(read_head(&mut socket.try_clone().unwrap()).0)
}

fn connect_from(source: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::from(source), 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[test]
fn a_client_may_have_so_many_connections_and_others_do_not_notice() {
    let (hub, metrics) = Server::with_metrics(&["--connections-per-address", "3"]);
    let stream = Stream::open(hub.address, "/events/a", &[]);
    let (first, second) = (connect(hub.address), connect(hub.address));
    assert!(ask(&first).is_some() && ask(&second).is_some());
    assert_eq!(ask(&connect(hub.address)), None, "it is one too many");
    assert_eq!(metrics.limited("connections-per-address"), 1.0);
    hub.next_record(|line| {
        line.contains("address=127.0.0.1") && line.contains("--trusted-proxies")
    });
    assert!(ask(&connect_from([127, 0, 0, 9], hub.address)).is_some(), "another has its own");
    drop(stream);
    eventually("the stream's connection is counted no more", || {
        ask(&connect(hub.address)).is_some()
    });
    drop(first);
    eventually("nor is one that was closed", || ask(&connect(hub.address)).is_some());
    assert!(ask(&second).is_some());
}

#[test]
fn connections_of_trusted_proxies_are_not_limited() {
    let options = ["--connections-per-address", "1", "--trusted-proxies", "127.0.0.0/29"];
    let hub = Server::start(&options);
    let of_proxy: Vec<_> = (0..20).map(|_| connect(hub.address)).collect();
    assert!(of_proxy.iter().all(|socket| ask(socket).is_some()));
    let _stream = Stream::open(hub.address, "/events/a", &["X-Forwarded-For: 127.0.0.9"]);
    let one = connect_from([127, 0, 0, 9], hub.address);
    assert!(ask(&one).is_some(), "what it has through the proxy is the proxy's");
    assert_eq!(ask(&connect_from([127, 0, 0, 9], hub.address)), None);
}

#[test]
fn a_client_that_has_to_reconnect_later_holds_no_connection() {
    let hub = Server::start(&["--subscribers", "0"]);
    let mut socket = connect(hub.address);
    write!(socket, "GET /events/a HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut response = String::new();
    socket.read_to_string(&mut response).expect("the hub closes the connection");
    assert!(
        response.contains("\r\nconnection: close\r\n") && response.contains("retry: "),
        "{response}"
    );
    reconnect_delay(&get(hub.address, "/events/a"));
}

#[test]
fn health_has_an_endpoint_beside_the_metrics_too() {
    let (_hub, metrics) = Server::with_metrics(&[]);
    let health = ["/healthz", "/readyz"].map(|path| get(metrics.address, path));
    assert_eq!(
        health.each_ref().map(|answer| (answer.status, answer.body.as_str())),
        [(200, "alive\n"), (200, "ready\n")]
    );
}
