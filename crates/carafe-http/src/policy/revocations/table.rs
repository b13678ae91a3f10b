//! The revocations that are in force. It knows no log, no lock and no clock.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use carafe_log::Span;
use carafe_protocol::Position;

use crate::policy::revocations::names::{Key, Names};
use crate::policy::revocations::record::{Record, Revoked};

/// How long it is remembered that a revocation was lifted: longer than another record about the
/// same, made before, can be on its way.
const LIFTED: u64 = 600;

/// A history with fewer entries is not full.
const FEW: u64 = 64;

/// The revocations that are in force, and those that were lifted lately.
#[derive(Debug, Default)]
pub(crate) struct Table {
    held: HashMap<Key, Held>,
    in_force: usize,
}

#[derive(Debug)]
struct Held {
    record: Record,
    /// The newest entry of the log with this record, and its time.
    position: Position,
    stored: SystemTime,
}

impl Table {
    /// Adds what an entry of the log says, unless a later record about the same is known; whether
    /// that changes who is refused.
    pub(crate) fn apply(&mut self, record: Record, position: Position, stored: SystemTime) -> bool {
        let key = Key::of(&record.target);
        let held = Held { record, position, stored };
        let Some(known) = self.held.get_mut(&key) else {
            self.in_force += usize::from(!held.record.lifted);
            let changes = !held.record.lifted;
            self.held.insert(key, held);
            return changes;
        };
        let is_again = known.record == held.record && known.position.offset < held.position.offset;
        if !is_again && known.record.changed >= held.record.changed {
            return false;
        }
        self.in_force += usize::from(!held.record.lifted);
        self.in_force -= usize::from(!known.record.lifted);
        *known = held;
        !is_again
    }

    /// Whether one of these names is revoked.
    pub(crate) fn revokes(&self, names: &Names, now: u64) -> bool {
        names
            .keys()
            .any(|key| self.held.get(&key).is_some_and(|held| held.record.refuses(key, names, now)))
    }

    /// The revocation of the same, if it is in force.
    pub(crate) fn get(&self, record: &Record, now: u64) -> Option<(&Record, Revoked)> {
        let held = self.held.get(&Key::of(&record.target))?;
        let is_in_force = held.record.is_in_force(now);
        is_in_force.then(|| (&held.record, Revoked::new(&held.record, held.position)))
    }

    /// When the newest record about the same was made.
    pub(crate) fn changed(&self, record: &Record) -> u64 {
        self.held.get(&Key::of(&record.target)).map_or(0, |held| held.record.changed)
    }

    /// All revocations that are in force, the oldest first.
    pub(crate) fn list(&self, now: u64) -> Vec<Revoked> {
        let mut held: Vec<_> =
            self.held.values().filter(|held| held.record.is_in_force(now)).collect();
        held.sort_by_key(|held| (held.record.changed, held.position.offset));
        held.into_iter().map(|held| Revoked::new(&held.record, held.position)).collect()
    }

    /// How many revocations there are.
    pub(crate) fn in_force(&self) -> usize {
        self.in_force
    }

    /// How many records are kept, those about lifted revocations too.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Removes what has ended.
    pub(crate) fn sweep(&mut self, now: u64) {
        self.held.retain(|_, held| {
            let record = &held.record;
            let is_kept = match record.lifted {
                true => now < (record.changed / 1000).saturating_add(LIFTED),
                false => record.is_in_force(now),
            };
            self.in_force -= usize::from(!is_kept && !record.lifted);
            is_kept
        });
    }

    /// Some of the revocations whose entries were trimmed or come to be trimmed: those in the older
    /// half of the history.
    pub(crate) fn to_store_again(
        &self,
        span: &Span,
        now: SystemTime,
        age: Option<Duration>,
        most: usize,
    ) -> Vec<Record> {
        let (start, tail) = (span.start.offset, span.tail.offset);
        let length = tail.saturating_sub(start);
        let is_old = |held: &Held| {
            let age_now = now.duration_since(held.stored).unwrap_or_default();
            age.is_some_and(|age| age_now >= age / 2)
        };
        let is_due = |held: &&Held| {
            let offset = held.position.offset;
            let is_behind = length > FEW && offset.saturating_sub(start) < length / 2;
            !held.record.lifted && (offset <= start || is_behind || is_old(held))
        };
        let due = self.held.values().filter(is_due);
        due.take(most).map(|held| held.record.clone()).collect()
    }
}

impl Record {
    fn refuses(&self, key: Key, names: &Names, now: u64) -> bool {
        let before = self.issued_before.saturating_mul(1000);
        // Without the time of issue, nobody can tell whether it was before.
        let is_older = || names.issued().is_none_or(|issued| issued < before);
        self.is_in_force(now) && (key.is_token() || is_older())
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use carafe_protocol::Generation;

    use super::*;
    use crate::policy::revocations::record::{Target, Who};

    fn at(offset: u64) -> Position {
        Position { generation: Generation::new(1), offset, nonce: 0 }
    }

    fn of(subject: &str, changed: u64) -> Record {
        let target = Target { who: Who::Subject(subject.into()), issuer: None };
        Record { target, issued_before: 100, until: Some(1000), changed, lifted: false }
    }

    fn lifted(subject: &str, changed: u64) -> Record {
        Record { lifted: true, ..of(subject, changed) }
    }

    fn issued(subject: &str, seconds: u64) -> Names {
        Names::of_user(subject, Some(UNIX_EPOCH + Duration::from_secs(seconds)))
    }

    /// A table that has read these records in order.
    fn table(records: &[Record]) -> Table {
        let mut table = Table::default();
        for (offset, record) in (1..).zip(records) {
            table.apply(record.clone(), at(offset), UNIX_EPOCH);
        }
        table
    }

    #[test]
    fn rights_issued_before_the_time_are_refused_until_the_revocation_ends() {
        let table = table(&[of("ann", 1)]);
        assert!(table.revokes(&issued("ann", 99), 500));
        assert!(!table.revokes(&issued("ann", 100), 500));
        assert!(table.revokes(&Names::of_user("ann", None), 999), "issued at an unknown time");
        assert!(!table.revokes(&issued("ann", 99), 1000) && !table.revokes(&issued("bob", 1), 500));
    }

    #[test]
    fn the_order_in_which_records_are_read_does_not_matter() {
        let records = [of("ann", 1), lifted("ann", 2), of("ann", 3), lifted("ann", 4)];
        for count in 1..=records.len() {
            let orders = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 0, 1], [3, 0, 2, 1]];
            for order in orders {
                let read: Vec<_> = order.iter().filter(|at| **at < count).collect();
                let read: Vec<_> = read.into_iter().map(|at| records[*at].clone()).collect();
                let table = table(&read);
                let is_revoked = table.revokes(&issued("ann", 1), 1);
                assert_eq!((is_revoked, table.in_force()), (count % 2 == 1, count % 2), "{read:?}");
            }
        }
    }

    #[test]
    fn a_copy_of_a_revocation_that_was_lifted_meanwhile_does_not_revive_it() {
        let table = table(&[of("ann", 1), lifted("ann", 2), of("ann", 1)]);
        assert!(!table.revokes(&issued("ann", 1), 1) && table.list(1).is_empty());
    }

    #[test]
    fn what_has_ended_takes_no_memory() {
        let forever = Record { until: None, ..of("eve", 3) };
        let mut table = table(&[of("ann", 1), lifted("bob", 2_000_000), forever]);
        table.sweep(1000);
        assert_eq!((table.len(), table.in_force()), (2, 1));
        table.sweep(2000 + LIFTED);
        assert_eq!((table.len(), table.in_force()), (1, 1));
    }

    #[test]
    fn revocations_in_the_older_half_of_the_history_are_stored_again() {
        let records: Vec<_> = (0..100).map(|number| of(&number.to_string(), 1)).collect();
        let mut table = table(&records);
        let span = |start, tail| Span { start: at(start), oldest: None, tail: at(tail) };
        let due = |table: &Table, span| table.to_store_again(&span, UNIX_EPOCH, None, 1000).len();
        assert_eq!(due(&table, span(0, 50)), 0, "hardly anything is stored");
        assert_eq!(due(&table, span(0, 100)), 49);
        assert_eq!(due(&table, span(80, 100)), 80, "entries that were trimmed");
        assert_eq!(due(&table, span(100, 1000)), 100);
        for record in records {
            assert!(!table.apply(record, at(900), UNIX_EPOCH), "nobody else is refused");
        }
        assert_eq!(due(&table, span(100, 1000)), 0);
        let (old, age) = (UNIX_EPOCH + Duration::from_secs(50), Some(Duration::from_secs(100)));
        assert_eq!(table.to_store_again(&span(0, 2), old, age, 7).len(), 7);
    }
}
