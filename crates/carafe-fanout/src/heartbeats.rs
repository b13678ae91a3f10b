//! Which clients are looked after when: each four times in a heartbeat's interval, and never all at
//! once.

use std::ops::Range;
use std::time::{Duration, Instant};

use carafe_hub::Tick;

use crate::clock::ticks;

/// How often each client is looked after in one interval.
const ROUNDS: u32 = 4;

/// Clients that are looked after at once, if there are not very many.
const AT_ONCE: u32 = 64;

/// The most parts that a round has: more would be more wake-ups than work.
const PARTS: u32 = 64;

/// Goes round the places of the clients, part by part.
pub(crate) struct HeartbeatRounds {
    interval: Duration,
    next: Instant,
    /// From which place on the next part is.
    place: u32,
}

impl HeartbeatRounds {
    pub(crate) fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, next: now, place: 0 }
    }

    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// After how long a silence there is a beat: one that comes a round later would be late.
    pub(crate) fn silence(&self) -> Tick {
        ticks(self.interval * (ROUNDS - 1) / ROUNDS)
    }

    /// The places whose turn it is.
    pub(crate) fn due(&mut self, places: u32, now: Instant) -> Range<u32> {
        if now < self.next || places == 0 {
            return 0..0;
        }
        let parts = places.div_ceil(AT_ONCE).min(PARTS);
        let from = if self.place < places { self.place } else { 0 };
        let to = from.saturating_add(places.div_ceil(parts)).min(places);
        self.place = to;
        self.next = now + self.interval / ROUNDS / parts;
        from..to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_places_are_looked_after_in_each_quarter_of_the_interval() {
        let start = Instant::now();
        for places in [1, 63, 64, 65, 1_000, 18_000] {
            let mut heartbeats = HeartbeatRounds::new(Duration::from_secs(16), start);
            let (mut now, mut seen) = (start, vec![0; places as usize]);
            while now < start + Duration::from_secs(4) {
                heartbeats.due(places, now).for_each(|subscriber| seen[subscriber as usize] += 1);
                now = heartbeats.next();
            }
            assert!(seen.iter().all(|times| (1..=2).contains(times)), "{places}: {seen:?}");
        }
    }
}
