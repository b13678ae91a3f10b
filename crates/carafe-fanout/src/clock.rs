//! Time as an outlet counts it.

use std::time::{Duration, Instant};

use carafe_hub::Tick;

const TICK: Duration = Duration::from_millis(10);

/// Counts ticks from when it was made.
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn at(&self, now: Instant) -> Tick {
        ticks(now.saturating_duration_since(self.start))
    }
}

/// How many whole ticks that is; some years at most.
pub(crate) fn ticks(time: Duration) -> Tick {
    Tick::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(Tick::MAX)
}
