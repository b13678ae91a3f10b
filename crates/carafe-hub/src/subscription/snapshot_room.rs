//! The memory that open snapshots may use: a slow client keeps the offsets of its snapshot.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::client::Client;

/// The memory for all snapshots. Clones share it.
#[derive(Clone)]
pub(crate) struct SnapshotRoom {
    limit: usize,
    // A leaf in the lock order.
    used: Arc<Mutex<Used>>,
}

#[derive(Default)]
struct Used {
    bytes: usize,
    // Only clients with an open snapshot.
    by_client: HashMap<Option<Client>, usize>,
}

/// A part of the memory, until it is dropped.
pub(crate) struct Reservation {
    room: SnapshotRoom,
    client: Option<Client>,
    bytes: usize,
}

impl SnapshotRoom {
    /// Room for this number of bytes in all, of which one client may use a half.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: Arc::default() }
    }

    /// Reserves memory; `None` if there is not enough.
    pub(crate) fn reserve(&self, client: Option<Client>, bytes: usize) -> Option<Reservation> {
        let mut used = self.used();
        let of_client = used.by_client.get(&client).copied().unwrap_or(0) + bytes;
        // A client whose address is unknown stands for all such clients.
        let most = if client.is_some() { self.limit / 2 } else { self.limit };
        if bytes > 0 && (used.bytes + bytes > self.limit || of_client > most) {
            return None;
        }
        used.bytes += bytes;
        if bytes > 0 {
            used.by_client.insert(client, of_client);
        }
        drop(used);
        Some(Reservation { room: self.clone(), client, bytes })
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut used = self.room.used();
        used.bytes -= self.bytes;
        if let Some(of_client) = used.by_client.get_mut(&self.client) {
            *of_client -= self.bytes;
            if *of_client == 0 {
                used.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_may_use_a_half_and_all_together_no_more_than_there_is() {
        let room = SnapshotRoom::new(100);
        let client = |number: u32| Some(Client::of(number));
        let first = room.reserve(client(1), 50).unwrap();
        assert!(room.reserve(client(1), 1).is_none());
        let nothing = room.reserve(client(1), 0).unwrap();
        let _second = room.reserve(client(2), 40).unwrap();
        assert!(room.reserve(client(3), 11).is_none() && room.reserve(None, 11).is_none());
        drop((first, nothing));
        let _unknown = room.reserve(None, 60).unwrap();
        assert!(room.reserve(client(1), 1).is_none());
        assert_eq!(room.used().by_client.len(), 2);
    }
}
