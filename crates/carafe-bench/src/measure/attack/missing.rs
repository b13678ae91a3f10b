//! The last event of topics that do not exist: 200 at once, by all attackers together.

use std::io::Write;
use std::time::Duration;

use super::attacker::Attacker;
use crate::wire;

/// Requests that an attacker has under way at once.
const AT_ONCE: u64 = 10;

pub(crate) fn attempt(attacker: &mut Attacker<'_>) {
    let ask = |number: u64| {
        let mut stream = attacker.connect()?;
        let target = format!("/events?last=1&topic=missing/{}/{number}", attacker.done);
        stream.write_all(wire::get(&target, &[]).as_bytes()).ok()?;
        Some(stream)
    };
    let streams: Vec<_> = (0..AT_ONCE).filter_map(ask).collect();
    for mut stream in streams {
        attacker.count_answer(&mut stream);
    }
    attacker.pause(Duration::from_millis(20));
}
