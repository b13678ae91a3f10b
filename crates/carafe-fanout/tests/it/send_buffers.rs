//! The kernel's send buffers and segments: which clients get a larger buffer, and for how long.

use std::io::Read;
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::thread::yield_now;
use std::time::{Duration, Instant};

use carafe_fanout::{CatchUp, EndReason, ShardOptions, ShardPool};
use rustix::net::sockopt::socket_send_buffer_size;

use crate::ends::{PATIENCE, Rig, Watcher};

const USUAL: usize = 48 << 10;
const EVENTS: usize = 16;
const EVENT: usize = 1 << 20;

fn options() -> ShardOptions {
    let mut options = ShardOptions::default();
    options.send_buffer = USUAL;
    options
}

/// A rig whose listener has these socket options, as that of a server.
fn rig(options: &ShardOptions) -> Rig {
    let rig = Rig::with_heartbeat(options, Duration::from_millis(200));
    ShardPool::<Watcher>::prepare(&rig.listener, options);
    rig
}

/// Publishes far more than the kernel buffers.
fn flood(rig: &Rig) {
    (0..EVENTS).for_each(|_| rig.publish("x".repeat(EVENT)));
}

fn read_flood(client: &mut TcpStream) {
    std::io::copy(&mut client.take((EVENTS * EVENT) as u64), &mut std::io::sink()).unwrap();
}

#[test]
fn a_client_that_catches_up_has_a_larger_buffer_until_it_has_caught_up_for_a_while() {
    let rig = rig(&options());
    let (sender, _ends) = channel();
    let (mut client, seen) = rig.join_seen(None, Watcher::Witness(sender));
    for _ in 0..2 {
        assert_eq!(socket_send_buffer_size(&seen).unwrap(), USUAL);
        flood(&rig);
        read_flood(&mut client);
        assert!(socket_send_buffer_size(&seen).unwrap() > USUAL);
        let deadline = Instant::now() + PATIENCE;
        // It reads on: only chunk framing is left of the flood.
        client.set_nonblocking(true).unwrap();
        while socket_send_buffer_size(&seen).unwrap() > USUAL {
            while client.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {}
            assert!(Instant::now() < deadline, "it keeps the larger buffer");
            yield_now();
        }
        client.set_nonblocking(false).unwrap();
    }
}

#[test]
fn a_client_that_does_not_read_gets_no_larger_buffer() {
    let rig = rig(&{
        let mut options = options();
        options.write_timeout = Duration::from_millis(300);
        options
    });
    let (sender, ends) = channel();
    let (client, seen) = rig.join_seen(None, Watcher::Witness(sender));
    flood(&rig);
    assert_eq!(ends.recv_timeout(PATIENCE), Ok(EndReason::Stalled));
    assert_eq!(socket_send_buffer_size(&seen).unwrap(), USUAL);
    drop(client);
}

#[test]
fn without_bytes_for_it_a_client_catches_up_with_its_usual_buffer() {
    let rig = rig(&{
        let mut options = options();
        options.catch_up = CatchUp::new(0);
        options
    });
    let (sender, _ends) = channel();
    let (mut client, seen) = rig.join_seen(None, Watcher::Witness(sender));
    rig.publish("x".repeat(2 * EVENT));
    std::io::copy(&mut (&mut client).take(2 * EVENT as u64), &mut std::io::sink()).unwrap();
    assert_eq!(socket_send_buffer_size(&seen).unwrap(), USUAL);
}

#[test]
fn several_segments_fit_into_the_usual_buffer_on_loopback_too() {
    let rig = rig(&options());
    let (sender, _ends) = channel();
    let (_client, seen) = rig.join_seen(None, Watcher::Witness(sender));
    let segment = socket2::SockRef::from(&seen).tcp_mss().unwrap() as usize;
    assert!(3 * segment <= USUAL, "{segment}");
}
