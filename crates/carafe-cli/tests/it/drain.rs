//! The orderly end.

use std::io::Read;
use std::net::TcpStream;

use crate::http::{self, Stream, get, publish};
use crate::process::Server;

#[test]
fn every_stream_ends_after_all_that_was_published_and_the_program_exits_with_0() {
    let hub = Server::start(&["--drain-timeout", "20s"]);
    let mut streams: Vec<_> =
        (0..20).map(|_| Stream::open(hub.address, "/events/orders", &[])).collect();
    for stream in &mut streams {
        assert_eq!(stream.next().unwrap().event_type, "carafe.position");
    }
    let published: Vec<_> =
        (0..50).map(|number| publish(hub.address, "/events/orders", &number.to_string())).collect();
    hub.terminate();
    for mut stream in streams {
        let ids: Vec<_> =
            std::iter::from_fn(|| stream.next()).map(|event| event.last_event_id).collect();
        assert_eq!(ids, published);
    }
    assert!(hub.wait().success());
}

#[test]
fn a_draining_hub_takes_no_new_connections_and_closes_idle_ones() {
    let hub = Server::start(&["--drain-timeout", "20s"]);
    let address = hub.address;
    let mut idle = http::connect(address);
    // Accepted, and then never a byte: it must not hold the hub up.
    assert_eq!(get(address, "/healthz").body, "alive\n");
    hub.terminate();
    let mut nothing = Vec::new();
    assert_eq!(idle.read_to_end(&mut nothing).unwrap(), 0);
    assert!(hub.wait().success());
    assert!(TcpStream::connect(address).is_err(), "the port is free again");
}

#[test]
fn a_client_that_does_not_read_is_cut_when_the_drain_time_is_over() {
    let hub = Server::start(&["--drain-timeout", "300ms"]);
    let stalled = Stream::open(hub.address, "/events/orders", &[]);
    let large = "x".repeat(1 << 20);
    for _ in 0..12 {
        publish(hub.address, "/events/orders", &large);
    }
    let process = hub.process();
    process.signal(rustix::process::Signal::TERM);
    let line = process.next_record(|line| line.contains("cut"));
    assert!(
        line.contains("disconnected the remaining streams") && line.contains("cut=1"),
        "{line}"
    );
    assert!(process.wait().success());
    drop(stalled);
}
