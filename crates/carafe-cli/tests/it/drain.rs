//! The orderly end.

use std::io::Read;
use std::net::TcpStream;

use crate::http::{self, Stream, get, publish};
use crate::metrics::Metrics;
use crate::process::{Server, eventually};

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

#[test]
fn after_sigterm_the_hub_is_not_ready_and_serves_until_the_shutdown_delay_is_over() {
    let hub = Server::start(&["--shutdown-delay", "1h", "--metrics-listen", "127.0.0.1:0"]);
    let metrics = Metrics::of(&hub);
    let mut before = Stream::open(hub.address, "/events/a", &[]);
    assert_eq!(get(hub.address, "/readyz").status, 200);
    hub.terminate();
    eventually("/readyz is 503", || get(hub.address, "/readyz").status == 503);
    assert_eq!(get(metrics.address, "/readyz").status, 503);
    assert_eq!(get(hub.address, "/healthz").status, 200);
    let mut during = Stream::open(hub.address, "/events/a", &[]);
    publish(hub.address, "/events/a", "served");
    assert_eq!((before.data(1), during.data(1)), (vec!["served".into()], vec!["served".into()]));
    // A second signal ends the wait.
    hub.terminate();
    assert_eq!((before.next(), during.next()), (None, None));
    assert!(hub.wait().success());
}

#[test]
fn a_hub_drains_by_itself_when_the_shutdown_delay_is_over() {
    let hub = Server::start(&["--shutdown-delay", "10ms"]);
    let mut stream = Stream::open(hub.address, "/events/a", &[]);
    hub.terminate();
    assert_eq!(stream.data(1), Vec::<String>::new());
    assert!(hub.wait().success());
}
