//! Checks that each connection receives each event once and in order.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

/// The most skipped numbers that are remembered per connection; a broken server may skip any
/// number.
const MAX_SKIPPED: u64 = 10_000;

/// Faults of all connections together.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Faults {
    /// Events that were skipped and did not arrive later.
    pub(crate) gaps: u64,
    /// Events that arrived twice.
    pub(crate) doubles: u64,
    /// Events that arrived after a later one.
    pub(crate) reorders: u64,
    /// Events of a topic that the connection is not subscribed to, or that were never published.
    pub(crate) strays: u64,
    /// Events that had not arrived at the end of the run.
    pub(crate) missing: u64,
    /// `carafe.gap` events.
    pub(crate) gap_events: u64,
    /// Streams that ended unexpectedly.
    pub(crate) lost: u64,
}

impl Faults {
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

pub(crate) struct Checks {
    /// Whether a later event must not overtake an earlier one.
    is_ordered: bool,
    faults: Faults,
    skipped: HashMap<usize, BTreeSet<u64>>,
}

impl Checks {
    pub(crate) fn new(is_ordered: bool) -> Self {
        Self { is_ordered, faults: Faults::default(), skipped: HashMap::new() }
    }

    pub(crate) fn faults(&self) -> Faults {
        self.faults
    }

    pub(crate) fn faults_mut(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// Checks an event that arrived on a connection which expects the number `next`. Returns
    /// whether the event is new.
    pub(crate) fn arrived(&mut self, connection: usize, next: u64, number: u64) -> bool {
        if number < next {
            return self.arrived_late(connection, number);
        }
        if number > next {
            self.faults.gaps += number - next;
            let skipped = next..number.min(next.saturating_add(MAX_SKIPPED));
            self.skipped.entry(connection).or_default().extend(skipped);
        }
        true
    }

    fn arrived_late(&mut self, connection: usize, number: u64) -> bool {
        let skipped = self.skipped.get_mut(&connection);
        if !skipped.is_some_and(|skipped| skipped.remove(&number)) {
            self.faults.doubles += 1;
            return false;
        }
        self.faults.gaps -= 1;
        self.faults.reorders += u64::from(self.is_ordered);
        !self.is_ordered
    }
}
