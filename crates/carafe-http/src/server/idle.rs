//! The idle connections of a server, in the order in which they became idle.
//!
//! When descriptors run short, the connections that have been idle for the longest are closed in
//! favour of new ones. A connection is idle from its start until the head of a request is there,
//! and again when all its responses have ended.
//!
//! One lock guards the list, for a few assignments at a time. No other lock is taken, and no task
//! woken, while it is held.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// The link of an entry at an end of the list.
const NONE: u32 = u32::MAX;

/// All connections of a server. Clones are handles to the same list.
#[derive(Clone)]
pub(crate) struct Idle(Arc<Mutex<List>>);

/// A list of idle connections, linked through the entries: no operation searches.
struct List {
    entries: Slab<Entry>,
    oldest: u32,
    newest: u32,
}

struct Entry {
    state: State,
    /// Aborts the task of the connection, once it is known.
    task: Option<AbortHandle>,
}

#[derive(Clone, Copy)]
enum State {
    Idle {
        older: u32,
        newer: u32,
    },
    /// The number of requests whose responses have not ended.
    Busy(u32),
    /// The connection is being closed.
    Closed,
}

impl Idle {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(List { entries: Slab::new(), oldest: NONE, newest: NONE })))
    }

    /// Adds a connection, which is idle from now on.
    pub(crate) fn register(&self) -> ConnectionEntry {
        ConnectionEntry { idle: self.clone(), key: self.list().register(), asked: Notify::new() }
    }

    /// Names the task of a connection that was added. It may have ended already.
    pub(crate) fn is_driven_by(&self, key: u32, task: AbortHandle) {
        if let Some(entry) = self.list().entries.get_mut(key as usize) {
            entry.task = Some(task);
        }
    }

    /// Closes the connection that has been idle for the longest; `false` if none is idle.
    pub(crate) fn close_oldest(&self) -> bool {
        let closed = self.list().close_oldest();
        // After the lock is released: aborting a task takes locks of the runtime.
        closed.is_some_and(|task| {
            task.into_iter().for_each(|task| task.abort());
            true
        })
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    fn register(&mut self) -> u32 {
        let key = self.entries.insert(Entry { state: State::Busy(0), task: None }) as u32;
        self.append(key);
        key
    }

    fn append(&mut self, key: u32) {
        let older = std::mem::replace(&mut self.newest, key);
        self.entries[key as usize].state = State::Idle { older, newer: NONE };
        match self.entries.get_mut(older as usize) {
            Some(Entry { state: State::Idle { newer, .. }, .. }) => *newer = key,
            _ => self.oldest = key,
        }
    }

    /// Removes an entry from the list, if it is idle.
    fn unlink(&mut self, key: u32) {
        let State::Idle { older, newer } = self.entries[key as usize].state else { return };
        match self.entries.get_mut(older as usize) {
            Some(Entry { state: State::Idle { newer: link, .. }, .. }) => *link = newer,
            _ => self.oldest = newer,
        }
        match self.entries.get_mut(newer as usize) {
            Some(Entry { state: State::Idle { older: link, .. }, .. }) => *link = older,
            _ => self.newest = older,
        }
    }

    fn begin(&mut self, key: u32) -> bool {
        let state = self.entries[key as usize].state;
        let requests = match state {
            State::Idle { .. } => 1,
            State::Busy(requests) => requests + 1,
            State::Closed => return false,
        };
        self.unlink(key);
        self.entries[key as usize].state = State::Busy(requests);
        true
    }

    fn end(&mut self, key: u32) {
        match &mut self.entries[key as usize].state {
            State::Busy(1) => self.append(key),
            State::Busy(requests) => *requests -= 1,
            State::Idle { .. } | State::Closed => {}
        }
    }

    fn close_oldest(&mut self) -> Option<Option<AbortHandle>> {
        let key = Some(self.oldest).filter(|key| *key != NONE)?;
        self.unlink(key);
        let entry = &mut self.entries[key as usize];
        entry.state = State::Closed;
        Some(entry.task.take())
    }
}

/// The entry of one connection; dropping it removes the connection.
pub(crate) struct ConnectionEntry {
    idle: Idle,
    key: u32,
    asked: Notify,
}

impl ConnectionEntry {
    pub(crate) fn key(&self) -> u32 {
        self.key
    }

    /// Counts a request; `None` if the connection is being closed. Then the request must have
    /// no effect, since its client will see no response.
    pub(crate) fn begin(self: &Arc<Self>) -> Option<InFlight> {
        self.asked.notify_one();
        self.idle.list().begin(self.key).then(|| InFlight(Arc::clone(self)))
    }

    /// Waits for the first request.
    pub(crate) async fn is_asked(&self) {
        self.asked.notified().await;
    }
}

impl Drop for ConnectionEntry {
    fn drop(&mut self) {
        let mut list = self.idle.list();
        list.unlink(self.key);
        let entry = list.entries.try_remove(self.key as usize);
        drop(list);
        drop(entry);
    }
}

/// A request whose response has not ended.
pub(crate) struct InFlight(Arc<ConnectionEntry>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.idle.list().end(self.0.key);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::task::JoinHandle;

    use super::*;

    /// A connection, and its task.
    fn register(idle: &Idle) -> (Arc<ConnectionEntry>, JoinHandle<()>) {
        let place = Arc::new(idle.register());
        let task = tokio::spawn(pending());
        idle.is_driven_by(place.key(), task.abort_handle());
        (place, task)
    }

    async fn closes(idle: &Idle, (_, task): (Arc<ConnectionEntry>, JoinHandle<()>)) {
        assert!(idle.close_oldest());
        assert!(task.await.unwrap_err().is_cancelled());
    }

    #[tokio::test]
    async fn the_connection_idle_for_the_longest_is_closed_first() {
        let idle = Idle::new();
        let [first, second, third, fourth] = [(); 4].map(|()| register(&idle));
        let (one, other) = (first.0.begin().unwrap(), first.0.begin().unwrap());
        drop(second);
        drop(one);
        closes(&idle, third).await;
        drop(other);
        closes(&idle, fourth).await;
        closes(&idle, first).await;
        assert!(!idle.close_oldest());
    }

    #[tokio::test]
    async fn one_that_has_a_request_is_not_closed_and_one_that_is_closed_gets_none() {
        let idle = Idle::new();
        let (busy, _task) = register(&idle);
        let _request = busy.begin().unwrap();
        assert!(!idle.close_oldest());
        let (closed, task) = register(&idle);
        assert!(idle.close_oldest());
        assert!(closed.begin().is_none());
        assert!(task.await.unwrap_err().is_cancelled());
    }

    #[tokio::test]
    async fn connections_that_have_ended_leave_nothing() {
        let idle = Idle::new();
        let places: Vec<_> = (0..100).map(|_| register(&idle)).collect();
        drop(places[50].0.begin());
        drop(places);
        let list = idle.list();
        assert_eq!((list.entries.len(), list.oldest, list.newest), (0, NONE, NONE));
    }
}
