//! Readers that are late while a segment is replaced.

use std::io;
use std::sync::{Arc, Condvar, Mutex};

use carafe_log::contract::helpers::{append_one, topic, try_read_all};
use carafe_log::{DiskLog, Storage, StorageFile};

use crate::erase::{at_once, erasure, until_carried_out, with_sealed_secrets};
use crate::sim::SimDisk;

/// A disk that can hold up one call that opens an index.
#[derive(Default)]
struct Gate {
    disk: SimDisk,
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum GateState {
    #[default]
    Open,
    /// Holds the next call up.
    Closed,
    Holding,
}

impl Gate {
    fn set(&self, state: GateState) {
        *self.state.lock().unwrap() = state;
        self.changed.notify_all();
    }

    fn until(&self, state: GateState) {
        let is_other = |now: &mut GateState| *now != state;
        drop(self.changed.wait_while(self.state.lock().unwrap(), is_other).unwrap());
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        if *state == GateState::Closed {
            *state = GateState::Holding;
            drop(state);
            self.changed.notify_all();
            self.until(GateState::Open);
        }
    }
}

impl Storage for Gate {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.disk.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        if name.ends_with(".index") {
            self.pass();
        }
        self.disk.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        Storage::sync(&self.disk)
    }
}

#[test]
fn a_reader_that_is_late_does_not_use_the_index_of_the_rewritten_segment() {
    let gate = Arc::new(Gate::default());
    drop(with_sealed_secrets(&gate.disk, at_once()));
    let log = DiskLog::open_on(Arc::clone(&gate) as Arc<dyn Storage>, at_once()).unwrap();
    gate.set(GateState::Closed);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| try_read_all(&log, 0, &[topic("b").into()]));
        gate.until(GateState::Holding);
        append_one(&log, erasure("a"));
        until_carried_out(&log);
        gate.set(GateState::Open);
        let entries = reader.join().unwrap().unwrap();
        let others = entries.iter().filter(|entry| entry.data().starts_with("other-"));
        assert_eq!(others.count(), 40);
    });
}
