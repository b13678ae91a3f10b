//! The wait before the next connection or attempt.

use std::time::Duration;

/// The default of the maximum wait. A base that the server asks for may be longer.
const LONGEST: Duration = Duration::from_secs(30);

/// Computes the wait before the next attempt: the base time, doubled for each failure in a row.
pub(crate) struct Backoff {
    base: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(base: Duration) -> Self {
        Self { base, longest: LONGEST, failures: 0 }
    }

    /// Sets the maximum wait.
    pub(crate) fn with_longest(self, longest: Duration) -> Self {
        Self { longest, ..self }
    }

    /// Sets the base time, for instance to the `retry` time of the stream.
    pub(crate) fn set_base(&mut self, base: Duration) {
        self.base = base;
    }

    /// Ends the row of failures.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The wait before the next attempt. It is spread by a quarter, so that the clients of a server
    /// do not all reconnect at once.
    pub(crate) fn next(&mut self) -> Duration {
        // 2^16 is far beyond the maximum for any base, and the shift stays within 32 bits. A base
        // that the server chose may exceed the maximum.
        let longest = self.longest.max(self.base);
        let time = self.base.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures = self.failures.saturating_add(1);
        // A server may send any number of milliseconds, and a timer panics beyond some hundred
        // years.
        time.min(Duration::from_secs(365 * 86_400)).mul_f64(rand::random_range(0.75..=1.25))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(base: Duration, waits: &[u64]) {
        let mut backoff = Backoff::new(base);
        for expected in waits {
            let wait = backoff.next().as_secs_f64();
            let expected = *expected as f64;
            assert!(
                (expected * 0.749..expected * 1.251).contains(&wait),
                "{wait} instead of {expected}"
            );
        }
    }

    #[test]
    fn each_failure_in_a_row_doubles_the_wait_up_to_half_a_minute() {
        check(Duration::from_secs(2), &[2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn a_server_may_ask_for_longer() {
        check(Duration::from_secs(100), &[100, 100]);
        check(Duration::MAX, &[365 * 86_400]);
    }

    #[test]
    fn an_open_stream_resets_the_wait() {
        let mut backoff = Backoff::new(Duration::from_secs(2));
        let _ = (backoff.next(), backoff.next());
        backoff.succeeded();
        assert!(backoff.next() < Duration::from_secs(3));
    }
}
