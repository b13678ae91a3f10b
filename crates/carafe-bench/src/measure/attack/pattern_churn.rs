//! Streams of complex patterns that are opened and closed, so that the hub compiles and forgets
//! them.

use std::time::Duration;

use super::attacker::Attacker;

const PATTERNS: u64 = 100;

pub(crate) fn attempt(attacker: &mut Attacker<'_>) {
    let one = |number| {
        // churn/{unique}-([a-f]+)/(\d+)
        let unique = (attacker.done * PATTERNS + number) * 256 + u64::from(attacker.number);
        format!("pattern=churn/{unique}-(%5Ba-f%5D%2B)/(%5Cd%2B)")
    };
    let patterns = (0..PATTERNS).map(one).collect::<Vec<_>>().join("&");
    drop(attacker.ask(&format!("/events?{patterns}"), &[], 1));
    attacker.pause(Duration::from_millis(5));
}
