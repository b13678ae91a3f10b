//! Schedules the visits of a shard to its subscribers: each four times in a heartbeat interval, and
//! never all at once.

use std::ops::Range;
use std::time::{Duration, Instant};

use carafe_hub::Tick;

use crate::clock::ticks;

/// Visits to each subscriber in one interval.
const ROUNDS: u32 = 4;

/// Subscribers that are visited at once, unless there are very many.
const AT_ONCE: u32 = 64;

/// The most parts of a round: more would be more wake-ups than work.
const PARTS: u32 = 64;

/// Goes round the table of subscribers, part by part.
pub(crate) struct HeartbeatRounds {
    interval: Duration,
    next: Instant,
    /// The index at which the next part begins.
    index: u32,
}

impl HeartbeatRounds {
    pub(crate) fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, next: now, index: 0 }
    }

    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// The part of a table of so many entries that is visited now.
    pub(crate) fn due(&mut self, entries: u32, now: Instant) -> Range<u32> {
        if now < self.next || entries == 0 {
            return 0..0;
        }
        let parts = entries.div_ceil(AT_ONCE).min(PARTS);
        // The table may have shrunk since the last part.
        let from = if self.index < entries { self.index } else { 0 };
        let to = from.saturating_add(entries.div_ceil(parts)).min(entries);
        self.index = to;
        // From now, not from when it was due: a late shard does not make up for the parts that it
        // has missed.
        self.next = now + self.interval / ROUNDS / parts;
        from..to
    }
}

/// The silence after which a visit sends a heartbeat. One that came a round later would exceed the
/// interval.
pub(crate) fn silence(interval: Duration) -> Tick {
    ticks(interval * (ROUNDS - 1) / ROUNDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_entries_are_visited_in_each_quarter_of_the_interval() {
        let start = Instant::now();
        for entries in [1, 63, 64, 65, 1_000, 18_000] {
            let mut rounds = HeartbeatRounds::new(Duration::from_secs(16), start);
            let (mut now, mut seen) = (start, vec![0; entries as usize]);
            while now < start + Duration::from_secs(4) {
                rounds.due(entries, now).for_each(|index| seen[index as usize] += 1);
                now = rounds.next();
            }
            assert!(seen.iter().all(|times| (1..=2).contains(times)), "{entries}: {seen:?}");
        }
    }
}
