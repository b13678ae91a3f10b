//! The wait before the next connection or attempt.

use std::time::Duration;

use crate::random;

/// The default of the maximum of what is added to the wait.
const LONGEST: Duration = Duration::from_secs(30);

/// The least that is added to a wait, at random: a server may ask for no wait at all.
const LEAST: Duration = Duration::from_millis(100);

/// Longer than any program waits. Adding the longest `Duration` to a time panics.
pub(crate) const FOREVER: Duration = Duration::from_secs(365 * 86_400);

/// Computes the wait before the next attempt: a lower bound, and a random time of which the maximum
/// doubles for each failure in a row. So the clients of a server do not all reconnect at once.
pub(crate) struct Backoff {
    base: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(base: Duration) -> Self {
        Self { base, longest: LONGEST, failures: 0 }
    }

    /// Sets the maximum of the random time.
    pub(crate) fn with_longest(self, longest: Duration) -> Self {
        Self { longest, ..self }
    }

    /// Sets the lower bound, for instance to the `retry` time of the stream.
    pub(crate) fn set_base(&mut self, base: Duration) {
        self.base = base;
    }

    /// Ends the row of failures.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Ends the row of failures if the connection has lasted for longer than the waits.
    pub(crate) fn lasted(&mut self, time: Duration) {
        if time > self.most_added() {
            self.succeeded();
        }
    }

    /// The wait before the next attempt, of at least this time.
    pub(crate) fn next(&mut self, least: Duration) -> Duration {
        let added = self.most_added().mul_f64(random::fraction());
        self.failures = self.failures.saturating_add(1);
        // A server may send any number of milliseconds.
        self.base.max(least).min(FOREVER) + added
    }

    fn most_added(&self) -> Duration {
        // 2^16 is far beyond the maximum for any base, and the shift stays within 32 bits.
        self.base.max(LEAST).saturating_mul(1 << self.failures.min(16)).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Checks that the waits reach from `least` to so much more, and no further.
    #[track_caller]
    fn check(base: Duration, least: Duration, added: &[u64]) {
        for most in [false, true] {
            let mut backoff = Backoff::new(base);
            for added in added {
                let bound = base.max(least) + seconds(*added);
                // Enough to see both halves.
                let waits: Vec<_> = (0..100)
                    .map(|_| {
                        Backoff { failures: backoff.failures, ..Backoff::new(base) }.next(least)
                    })
                    .collect();
                let middle = base.max(least) + seconds(*added) / 2;
                assert!(waits.iter().all(|wait| (base.max(least)..=bound).contains(wait)));
                assert!(waits.iter().any(|wait| (*wait > middle) == most), "{added}");
                let _ = backoff.next(least);
            }
        }
    }

    #[test]
    fn each_failure_in_a_row_doubles_what_is_added_up_to_half_a_minute() {
        check(seconds(2), Duration::ZERO, &[2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn a_server_may_ask_for_longer() {
        check(seconds(100), Duration::ZERO, &[30, 30]);
        check(seconds(2), seconds(100), &[2, 4]);
        let wait = Backoff::new(Duration::MAX).next(Duration::MAX);
        assert!(wait <= seconds(365 * 86_400 + 30), "{wait:?}");
    }

    #[test]
    fn no_wait_becomes_a_short_one() {
        let mut backoff = Backoff::new(Duration::ZERO);
        let wait: Duration = (0..100)
            .map(|_| {
                backoff.succeeded();
                backoff.next(Duration::ZERO)
            })
            .sum();
        assert!((seconds(1)..seconds(10)).contains(&wait), "{wait:?}");
    }

    #[test]
    fn a_success_and_a_stable_connection_reset_the_wait_and_a_short_one_does_not() {
        let mut backoff = Backoff::new(seconds(2));
        for failures in 1..=2 {
            let _ = backoff.next(Duration::ZERO);
            backoff.lasted(seconds(1));
            assert_eq!(backoff.failures, failures);
        }
        backoff.lasted(seconds(9));
        assert_eq!(backoff.failures, 0);
        let _ = backoff.next(Duration::ZERO);
        backoff.succeeded();
        assert_eq!(backoff.failures, 0);
    }
}
