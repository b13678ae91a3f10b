//! What happens often, and is worth a line in the log now and then.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Says yes at most once in a time.
pub(crate) struct Seldom {
    pause: Duration,
    last: Mutex<Option<Instant>>,
}

impl Seldom {
    pub(crate) const fn every(pause: Duration) -> Self {
        Self { pause, last: Mutex::new(None) }
    }

    pub(crate) fn now(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = last.is_none_or(|last| last.elapsed() >= self.pause);
        if is_time {
            *last = Some(Instant::now());
        }
        is_time
    }
}
