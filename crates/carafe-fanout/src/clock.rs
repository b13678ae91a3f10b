//! Time in the ticks of a dispatcher.

use std::time::{Duration, Instant};

use carafe_hub::Tick;

const TICK: Duration = Duration::from_millis(10);

/// Counts ticks since it was made. After more than a year the count wraps around.
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn at(&self, now: Instant) -> Tick {
        // Truncated on purpose: ticks wrap around, and only differences are used.
        count(now.saturating_duration_since(self.start)) as Tick
    }

    /// The ticks between `then` and now, correct across one wrap.
    pub(crate) fn since(&self, then: Tick, now: Instant) -> Tick {
        self.at(now).wrapping_sub(then)
    }
}

/// The whole ticks in a duration.
pub(crate) fn ticks(time: Duration) -> Tick {
    Tick::try_from(count(time)).unwrap_or(Tick::MAX)
}

fn count(time: Duration) -> u128 {
    time.as_millis() / TICK.as_millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_continues_when_the_clock_starts_again() {
        let clock = Clock::new();
        let last = clock.start + TICK * Tick::MAX;
        assert_eq!((clock.at(last), clock.at(last + TICK)), (Tick::MAX, 0));
        assert_eq!(clock.since(clock.at(last), last + 3 * TICK), 3);
    }
}
