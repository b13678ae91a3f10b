//! Heads that do not end.

use std::io::Write;
use std::time::Duration;

use super::attacker::Attacker;

const CONNECTIONS: usize = 20;

pub(crate) fn attempt(attacker: &mut Attacker<'_>) {
    let open = |_| {
        let mut stream = attacker.connect()?;
        stream.write_all(b"GET /events?topic=a HTTP/1.1\r\nHost: hub.test\r\nX-Slow: ").ok()?;
        Some(stream)
    };
    let mut open: Vec<_> = (0..CONNECTIONS).filter_map(open).collect();
    while !open.is_empty() && !attacker.is_over() {
        let before = open.len();
        open.retain_mut(|stream| !Attacker::is_closed(stream) && stream.write_all(b"x").is_ok());
        (open.len()..before).for_each(|_| attacker.count("closed"));
        attacker.pause(Duration::from_millis(300));
    }
    (0..open.len()).for_each(|_| attacker.count("open at the end"));
}
