//! Connections that say nothing.

use std::time::Duration;

use super::attacker::Attacker;

/// Connections that an attacker keeps.
const CONNECTIONS: usize = 300;

/// Between two connections of an attacker, of which there are ten. More would be a flood of
/// connections: against that, only what stands before the hub helps.
const PACE: Duration = Duration::from_millis(20);

pub(crate) fn attempt(attacker: &mut Attacker<'_>) {
    let mut open = Vec::new();
    while !attacker.is_over() {
        attacker.drop_closed(&mut open);
        while open.len() < CONNECTIONS && !attacker.is_over() {
            let Some(stream) = attacker.connect() else { break };
            open.push(stream);
            attacker.pause(PACE);
        }
        attacker.pause(Duration::from_millis(500));
    }
    (0..open.len()).for_each(|_| attacker.count("open at the end"));
}
