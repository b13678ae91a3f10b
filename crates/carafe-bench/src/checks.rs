//! Whether each connection gets each event once and in order.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

/// Numbers that one connection may be remembered to lack, since a broken server may skip any
/// number.
const REMEMBERED: u64 = 10_000;

/// What was wrong, over all connections.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Faults {
    /// Events that were skipped and did not come later either.
    pub(crate) gaps: u64,
    /// Events that came again.
    pub(crate) doubles: u64,
    /// Events that came after a later one.
    pub(crate) reorders: u64,
    /// Events of a topic that the connection had not asked for, or that nobody had published.
    pub(crate) strays: u64,
    /// Events that had not come when the run ended.
    pub(crate) missing: u64,
    /// Times that the server said that it cannot give all.
    pub(crate) gaps_told: u64,
    /// Connections that ended and were not to.
    pub(crate) lost: u64,
}

impl Faults {
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Default)]
pub(crate) struct Checks {
    faults: Faults,
    skipped: HashMap<usize, BTreeSet<u64>>,
}

impl Checks {
    pub(crate) fn faults(&self) -> Faults {
        self.faults
    }

    pub(crate) fn faults_mut(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// An event came to a connection that waits for the one numbered `next`. Whether it is a new
    /// one.
    pub(crate) fn came(&mut self, connection: usize, next: u64, number: u64) -> bool {
        if number < next {
            self.came_before(connection, number);
            return false;
        }
        if number > next {
            self.faults.gaps += number - next;
            let skipped = next..number.min(next.saturating_add(REMEMBERED));
            self.skipped.entry(connection).or_default().extend(skipped);
        }
        true
    }

    fn came_before(&mut self, connection: usize, number: u64) {
        let skipped = self.skipped.get_mut(&connection);
        if skipped.is_some_and(|skipped| skipped.remove(&number)) {
            self.faults.gaps -= 1;
            self.faults.reorders += 1;
        } else {
            self.faults.doubles += 1;
        }
    }
}
