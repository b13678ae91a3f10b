//! Streams that are not read.

use std::io::Write;
use std::time::{Duration, Instant};

use super::attacker::Attacker;
use crate::wire;

/// Streams that an attacker has at once, and how long it keeps them.
const STREAMS: usize = 20;
const KEPT: Duration = Duration::from_secs(20);

/// Bytes that the system holds for this end, and no more.
const RECEIVED: usize = 4096;

pub(crate) fn attempt(attacker: &mut Attacker<'_>) {
    let targets = ["/events?pattern=honest/*", "/events?earliest&pattern=dev/*"];
    let open = |number: usize| {
        let mut stream = attacker.connect()?;
        rustix::net::sockopt::set_socket_recv_buffer_size(&stream, RECEIVED).ok()?;
        stream.write_all(wire::get(targets[number % targets.len()], &[]).as_bytes()).ok()?;
        attacker.count("not read");
        Some(stream)
    };
    let streams: Vec<_> = (0..STREAMS).filter_map(open).collect();
    let end = Instant::now() + KEPT;
    while Instant::now() < end && !attacker.is_over() {
        attacker.pause(Duration::from_millis(200));
    }
    drop(streams);
}
