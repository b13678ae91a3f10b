//! Limits how often an event that may happen very often is logged.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets one log line through in each interval.
pub(crate) struct LogInterval {
    interval: Duration,
    last: Mutex<Option<Instant>>,
}

impl LogInterval {
    pub(crate) const fn every(interval: Duration) -> Self {
        Self { interval, last: Mutex::new(None) }
    }

    /// Whether a line may be logged now. If so, the interval begins anew.
    pub(crate) fn is_due(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= self.interval);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}
