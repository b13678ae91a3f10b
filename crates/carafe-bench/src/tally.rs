//! The counters of a run.

use hdrhistogram::Histogram;

use crate::checks::Checks;
use crate::flight::Flight;
use crate::mark::Mark;
use crate::scanner::Found;

/// The largest latency: an hour in microseconds.
const LONGEST: u64 = 3_600_000_000;

/// Everything that changes when events arrive.
pub(crate) struct Tally {
    pub(crate) flight: Flight,
    pub(crate) checks: Checks,
    /// Microseconds from when an event was sent until it arrived.
    pub(crate) latency: Histogram<u64>,
    /// Microseconds from the end of a stream until it is open again.
    pub(crate) reconnect: Histogram<u64>,
    pub(crate) deliveries: u64,
    topics: usize,
    is_ordered: bool,
}

impl Tally {
    pub(crate) fn new(connections: usize, topics: usize, is_ordered: bool) -> Self {
        Self {
            flight: Flight::new(connections, topics),
            checks: Checks::new(is_ordered),
            latency: histogram(),
            reconnect: histogram(),
            deliveries: 0,
            topics,
            is_ordered,
        }
    }

    pub(crate) fn topic(&self, connection: usize) -> usize {
        connection % self.topics
    }

    /// Resets the counters, except for faults. What arrives from now on belongs to the next round.
    pub(crate) fn end_round(&mut self) {
        self.latency.reset();
        self.reconnect.reset();
        self.deliveries = 0;
    }

    /// Records what the scanner reports for a connection that expects the number `next`.
    pub(crate) fn found(&mut self, connection: usize, next: &mut u64, found: &Found, now: u64) {
        match found {
            Found::Event(mark) => self.event(connection, next, mark, now),
            Found::Gap => self.checks.faults_mut().gap_events += 1,
            Found::Retry(_) => {}
        }
    }

    fn event(&mut self, connection: usize, next: &mut u64, mark: &Mark, now: u64) {
        let topic = self.topic(connection);
        if mark.topic as usize != topic || mark.number > self.flight.published(topic) {
            self.checks.faults_mut().strays += 1;
            return;
        }
        if !self.checks.arrived(connection, *next, mark.number) {
            return;
        }
        self.deliveries += 1;
        // In order, an event that was skipped is lost: nothing waits for it any longer.
        let first = if self.is_ordered { *next } else { mark.number };
        if self.flight.arrived(topic, first..mark.number + 1) {
            self.latency.saturating_record(now.saturating_sub(mark.sent) / 1000);
        }
        *next = (*next).max(mark.number + 1);
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST, 3).expect("the bounds of the histogram are valid")
}
