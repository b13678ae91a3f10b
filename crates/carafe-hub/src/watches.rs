//! Who watches which topics of a hub.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use carafe_log::Entry;
use carafe_protocol::Topic;
use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::report;

/// The watches of a hub. It has a lock of its own, which is never held together with another.
#[derive(Default)]
pub(crate) struct Watches(Mutex<Table>);

#[derive(Default)]
struct Table {
    watches: HashMap<u64, Arc<Notify>>,
    of_topic: HashMap<Topic, SmallVec<[u64; 1]>>,
    last: u64,
}

impl Watches {
    pub(crate) fn add(&self, topics: &[Topic]) -> (u64, Arc<Notify>) {
        let (mut table, notify) = (self.table(), Arc::new(Notify::new()));
        table.last += 1;
        let id = table.last;
        table.watches.insert(id, Arc::clone(&notify));
        for topic in topics {
            table.of_topic.entry(topic.clone()).or_default().push(id);
        }
        (id, notify)
    }

    pub(crate) fn remove(&self, id: u64, topics: &[Topic]) {
        let mut table = self.table();
        table.watches.remove(&id);
        for topic in topics {
            if let Some(ids) = table.of_topic.get_mut(topic) {
                ids.retain(|it| *it != id);
                if ids.is_empty() {
                    table.of_topic.remove(topic);
                }
            }
        }
    }

    /// Wakes the watches of the topics whose life these entries change.
    pub(crate) fn notify(&self, entries: &[Arc<Entry>]) {
        for entry in entries.iter().filter(|entry| report::is_of_life(entry)) {
            let watches: SmallVec<[Arc<Notify>; 1]> = {
                let table = self.table();
                let ids = table.of_topic.get(entry.topic()).into_iter().flatten();
                ids.filter_map(|id| table.watches.get(id)).cloned().collect()
            };
            watches.iter().for_each(|watch| watch.notify_one());
        }
    }

    /// Wakes all watches.
    pub(crate) fn notify_all(&self) {
        let watches: Vec<_> = self.table().watches.values().cloned().collect();
        // After the lock: waking a task may run code of its waker.
        watches.iter().for_each(|watch| watch.notify_one());
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
