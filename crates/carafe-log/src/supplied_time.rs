//! The time of a log that is supplied: that of its newest commit, and what has passed since.
//!
//! All nodes that share a log see the same times, so entries get old at the same moment on each,
//! whatever a node's wall clock says.

use crate::clock_reading::{Reading, TOLERANCE, TRUST, nanos};

/// The time of a supplied log. It knows no wall clock, once something was supplied.
#[derive(Debug)]
pub(crate) struct SuppliedTime {
    /// The supplied time that counts, in nanoseconds since 1970, and when it came.
    time: i64,
    steady: i64,
    /// What was supplied last.
    last: i64,
    /// Whether it was supplied. Before that, it is the wall clock's.
    is_known: bool,
    /// By how much the time has jumped ahead, while it is not sure that it stays there.
    doubt: i64,
    doubted_until: i64,
}

impl SuppliedTime {
    pub(crate) fn starting_at(wall: i64, steady: i64) -> Self {
        let (time, last) = (wall, wall);
        Self { time, steady, last, is_known: false, doubt: 0, doubted_until: steady }
    }

    /// The time of a log whose newest entry has this time. What has passed since is not known.
    pub(crate) fn resuming(newest: i64, steady: i64) -> Self {
        Self { is_known: true, ..Self::starting_at(newest, steady) }
    }

    pub(crate) fn reading(&self, steady: i64) -> Reading {
        let passed = steady.saturating_sub(self.steady).max(0);
        let doubt = if steady < self.doubted_until { self.doubt } else { 0 };
        Reading { steady, time: self.time.saturating_add(passed), doubt, agrees: true }
    }

    /// What was supplied last, in nanoseconds since 1970.
    pub(crate) fn last(&self) -> i64 {
        self.last
    }

    /// Takes the time of a commit.
    ///
    /// Commits come later than they were made, so a time slightly behind is no news. A time that is
    /// far behind is believed, since all later entries will have it. One that is far ahead, too,
    /// but is doubted for a while: it may be a mistake of the moment.
    pub(crate) fn supply(&mut self, time: i64, steady: i64) {
        let now = self.reading(steady);
        let ahead = time.saturating_sub(now.time);
        let tolerance = nanos(TOLERANCE);
        if !self.is_known {
            *self = Self::resuming(time, steady);
        } else if ahead > 0 || ahead < -tolerance {
            (self.time, self.steady) = (time, steady);
            if ahead.saturating_abs() > tolerance {
                self.doubt = now.doubt.saturating_add(ahead).max(0);
                self.doubted_until = steady.saturating_add(nanos(TRUST));
            }
        }
        self.last = time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;
    const HOUR: i64 = 3600 * SECOND;
    const NOW: i64 = 50 * 365 * 24 * HOUR;

    fn at(time: &SuppliedTime, steady: i64) -> (i64, i64) {
        let reading = time.reading(steady);
        (reading.time, reading.doubt)
    }

    #[test]
    fn the_wall_clock_counts_only_until_something_is_supplied() {
        let mut time = SuppliedTime::starting_at(NOW + HOUR, 0);
        assert_eq!(at(&time, SECOND), (NOW + HOUR + SECOND, 0));
        time.supply(NOW, 2 * SECOND);
        assert_eq!(at(&time, 5 * SECOND), (NOW + 3 * SECOND, 0));
    }

    #[test]
    fn commits_that_come_late_do_not_hold_the_time_up() {
        let mut time = SuppliedTime::resuming(NOW, 0);
        time.supply(NOW + 10 * SECOND, 10 * SECOND);
        time.supply(NOW + 11 * SECOND, 40 * SECOND);
        assert_eq!(at(&time, 40 * SECOND), (NOW + 40 * SECOND, 0));
    }

    #[test]
    fn what_was_supplied_last_is_known_also_if_it_is_always_a_little_late() {
        let mut time = SuppliedTime::starting_at(0, 0);
        time.supply(NOW, 0);
        for second in 1..=3 * 3600 {
            time.supply(NOW + second * SECOND - SECOND / 100, second * SECOND);
        }
        assert_eq!(time.last(), NOW + 3 * HOUR - SECOND / 100);
        assert_eq!(at(&time, 3 * HOUR).0, NOW + 3 * HOUR);
        assert_eq!(SuppliedTime::resuming(NOW, 5).last(), NOW);
    }

    #[test]
    fn a_jump_ahead_is_doubted_for_an_hour_and_taken_back_at_once() {
        let mut time = SuppliedTime::resuming(NOW, 0);
        time.supply(NOW + 24 * HOUR, 0);
        assert_eq!(at(&time, HOUR / 2), (NOW + 24 * HOUR + HOUR / 2, 24 * HOUR));
        assert_eq!(at(&time, HOUR), (NOW + 25 * HOUR, 0), "it has stayed");
        time.supply(NOW + 1000 * HOUR, HOUR);
        time.supply(NOW + 25 * HOUR, HOUR);
        assert_eq!(at(&time, HOUR), (NOW + 25 * HOUR, 0), "it was a mistake of the moment");
    }

    #[test]
    fn any_times_do_no_harm() {
        let mut time = SuppliedTime::starting_at(0, 0);
        for (supplied, steady) in [(i64::MAX, 0), (0, i64::MAX), (i64::MAX, 5), (NOW, 6), (0, 0)] {
            time.supply(supplied, steady);
            assert!(time.reading(i64::MAX).doubt >= 0);
        }
        assert_eq!(time.reading(0).time, 0);
    }
}
