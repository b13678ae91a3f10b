//! Clients that make the hub read its log: every kind of start that looks for something.

use std::time::Duration;

use carafe_protocol::{Generation, Position};

use super::attacker::Attacker;

/// Patterns of a stream: as many as one may have.
const PATTERNS: u64 = 100;

/// Bytes of a replay that are read before the next.
const SOME: usize = 1 << 20;

pub(crate) fn attempt(attacker: &mut Attacker<'_>) {
    match attacker.done % 5 {
        0 => drop(attacker.ask(&format!("/events?last=1&{}", patterns(attacker)), &[], 1)),
        1 => drop(attacker.ask("/events?earliest&pattern=dev/*", &[], SOME)),
        2 => resume_from_far(attacker),
        3 => {
            let target =
                format!("/.well-known/mercure?topic=*&lastEventID=urn:unknown:{}", attacker.done);
            drop(attacker.ask(&target, &[], 1));
        }
        _ => {
            let id = unknown_position(attacker.done).to_string();
            drop(attacker.ask("/events?pattern=dev/*", &[("Last-Event-ID", &id)], SOME));
        }
    }
    attacker.pause(Duration::from_millis(20));
}

/// A well-formed position of a log that does not exist.
fn unknown_position(offset: u64) -> Position {
    Position { generation: Generation::new(0x0bad_cafe_0bad), offset, nonce: 0x0bad_cafe }
}

/// Patterns that no topic matches and that are no simple ones, so that every topic has to be tried.
fn patterns(attacker: &Attacker<'_>) -> String {
    let one = |number| {
        // dev/(\d+)x{number}y{attacker}
        format!("pattern=dev/(%5Cd%2B)x{number}y{}", attacker.number)
    };
    (0..PATTERNS).map(one).collect::<Vec<_>>().join("&")
}

/// Takes the ID of the oldest event, and resumes from there by a pattern that seldom matches.
fn resume_from_far(attacker: &Attacker<'_>) {
    let Some(oldest) = attacker.ask("/events?earliest&pattern=dev/*", &[], 4096) else { return };
    let oldest = String::from_utf8_lossy(&oldest);
    let Some(id) = oldest.lines().filter_map(|line| line.strip_prefix("id: ")).next_back() else {
        return;
    };
    drop(attacker.ask("/events?pattern=dev/:id/none", &[("Last-Event-ID", id.trim())], 1));
}
