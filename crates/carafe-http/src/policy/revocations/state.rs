//! What the revocations of a hub, its requests and its open streams share.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Once, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use carafe_hub::Hub;
use carafe_log::{Clock, Entry};
use carafe_protocol::Offset;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Mutex, Notify, OnceCell, watch};

use crate::policy::revocations::names::{Names, milliseconds};
use crate::policy::revocations::record::Record;
use crate::policy::revocations::revocation::RevocationLimits;
use crate::policy::revocations::table::Table;
use crate::policy::revocations::watchers::Watchers;

/// The keeper looks at the history after so many bytes were added to it.
const BYTES: usize = 256 << 10;

/// The table of revocations, and who has to learn of its changes.
pub(crate) struct State {
    pub(super) limits: RevocationLimits,
    // Written under the log's lock, by its followers, and held for lookups only.
    table: RwLock<Table>,
    /// Whether the table has anything: most hubs never revoke, and their requests take no lock.
    is_used: AtomicBool,
    pub(super) watchers: Watchers,
    /// Counts the changes of the table.
    pub(super) changes: watch::Sender<u64>,
    /// The newest entry of the log that was applied.
    pub(super) applied: watch::Sender<Offset>,
    /// Held while a change is checked and stored, so that the limit is exact.
    pub(super) changing: Mutex<()>,
    pub(super) loaded: OnceCell<()>,
    pub(super) following: Once,
    pub(super) attached: OnceLock<Attached>,
    /// Wakes the keeper.
    pub(super) work: Arc<Notify>,
    /// Bytes of entries since the keeper last looked.
    appended: AtomicUsize,
}

/// The hub whose revocations these are.
pub(crate) struct Attached {
    pub(super) hub: Hub,
    /// The clock of the hub's log.
    clock: Clock,
    /// Shows how many revocations are in force.
    pub(super) gauge: Gauge,
}

impl Attached {
    pub(super) fn new(hub: &Hub, gauge: Gauge) -> Self {
        Self { hub: hub.clone(), clock: hub.log().clock(), gauge }
    }
}

impl State {
    pub(super) fn new(limits: RevocationLimits) -> Self {
        Self {
            limits,
            table: RwLock::default(),
            is_used: AtomicBool::new(false),
            watchers: Watchers::default(),
            changes: watch::Sender::new(0),
            applied: watch::Sender::new(0),
            changing: Mutex::new(()),
            loaded: OnceCell::new(),
            following: Once::new(),
            attached: OnceLock::new(),
            work: Arc::default(),
            appended: AtomicUsize::new(0),
        }
    }

    /// Whether one of these names is revoked now.
    pub(crate) fn revokes(&self, names: &Names) -> bool {
        self.is_used() && self.table().revokes(names, self.now())
    }

    /// Whether there is any revocation to keep.
    pub(super) fn is_used(&self) -> bool {
        // Acquire, and Release below: who sees the flag sees the table.
        self.is_used.load(Ordering::Acquire)
    }

    /// Takes entries of the log. Called under the log's lock, so it must not call the log.
    pub(super) fn follow(&self, entries: &[Arc<Entry>]) {
        self.apply(entries);
        if self.is_used() {
            // Without what the keeper itself stores: it would wake itself.
            let others = entries.iter().filter(|entry| !entry.publication.is_internal());
            let bytes: usize = others.map(|entry| entry.weight()).sum();
            if self.appended.fetch_add(bytes, Ordering::Relaxed) + bytes >= BYTES {
                self.appended.store(0, Ordering::Relaxed);
                self.work.notify_one();
            }
        }
    }

    /// Adds the revocations among these entries.
    pub(super) fn apply(&self, entries: &[Arc<Entry>]) {
        let records = entries.iter().filter_map(|entry| Some((entry, Record::of(entry)?)));
        let (mut newest, mut has_changed) = (None, false);
        for (entry, record) in records {
            has_changed |= self.table_mut().apply(record, entry.position, entry.time);
            newest = Some(entry.offset());
        }
        let Some(newest) = newest else { return };
        self.is_used.store(true, Ordering::Release);
        self.show();
        if has_changed {
            self.changes.send_modify(|changes| *changes += 1);
            self.work.notify_one();
        }
        // Last: who waits for it finds everything done.
        self.applied.send_modify(|applied| *applied = newest.max(*applied));
    }

    /// Removes what has ended.
    pub(super) fn sweep(&self) {
        let now = self.now();
        let mut table = self.table_mut();
        table.sweep(now);
        // Under the lock of the table: an entry that comes now sets the flag again.
        if table.len() == 0 {
            self.is_used.store(false, Ordering::Release);
        }
        drop(table);
        self.show();
    }

    /// The seconds since 1970 that end revocations, by the clock that is behind: that of this
    /// machine, or that of the log, which several nodes share. One that jumps ahead ends none.
    pub(super) fn now(&self) -> u64 {
        let (machine, log) = self.clocks();
        milliseconds(machine.min(log)) / 1000
    }

    /// The time of what is revoked now, by the clock that is ahead. If one is behind, it refuses
    /// the tokens of the meantime all the same, and does not end before its time.
    pub(super) fn time_of_change(&self) -> SystemTime {
        let (machine, log) = self.clocks();
        machine.max(log)
    }

    fn clocks(&self) -> (SystemTime, SystemTime) {
        let machine = SystemTime::now();
        (machine, self.attached.get().map_or(machine, |attached| attached.clock.now()))
    }

    fn show(&self) {
        if let Some(Attached { gauge, .. }) = self.attached.get() {
            gauge.set(i64::try_from(self.table().in_force()).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn table_mut(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // The keeper ends when it finds that nobody has the state any more.
        self.work.notify_one();
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("limits", &self.limits).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use carafe_log::{MemoryLog, TimeSource};
    use carafe_protocol::{Generation, Position};

    use super::*;
    use crate::policy::revocations::record::{Target, Who};

    struct Stopped(SystemTime);

    impl TimeSource for Stopped {
        fn wall(&self) -> SystemTime {
            self.0
        }

        fn steady(&self) -> Duration {
            Duration::ZERO
        }
    }

    /// The state of a hub whose log has this time.
    fn at(seconds: u64) -> State {
        let clock = Clock::on(Arc::new(Stopped(UNIX_EPOCH + Duration::from_secs(seconds))));
        let hub = Hub::new(MemoryLog::default().with_clock(clock));
        let state = State::new(RevocationLimits::default());
        assert!(state.attached.set(Attached::new(&hub, Gauge::default())).is_ok());
        state
    }

    #[test]
    fn a_revocation_ends_and_is_forgotten_when_it_has_ended_by_both_clocks() {
        for (seconds, is_in_force) in [(999, true), (1000, false)] {
            let state = at(seconds);
            let target = Target { who: Who::Subject("ann".into()), issuer: None };
            let record =
                Record { target, issued_before: 100, until: Some(1000), changed: 1, lifted: false };
            let publication = record.publication();
            let position = Position { generation: Generation::new(1), offset: 1, nonce: 1 };
            state.apply(&[Arc::new(Entry { position, time: UNIX_EPOCH, publication })]);
            assert_eq!(state.revokes(&Names::of_user("ann", None)), is_in_force);
            state.sweep();
            assert_eq!(state.table().len(), usize::from(is_in_force));
        }
    }
}
