//! Limits on open streams and connections.
//!
//! **Whether one more stream may be opened is decided here**, in [`Subscribers::admit`], for every
//! protocol and delivery path. The program derives the total from the file descriptors, and may
//! change it while the hub runs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::answer::limit::Limit;
use crate::policy::address::ClientAddress;

/// The limits on open streams and connections, and their counts. Clones share both.
///
/// ```
/// use carafe_http::{Options, SubscriberLimits, Subscribers};
///
/// let mut limits = SubscriberLimits::default();
/// limits.total = 10_000;
/// let mut options = Options::default();
/// options.subscribers = Subscribers::new(limits);
/// // Later, while the hub runs.
/// limits.total = 20_000;
/// options.subscribers.set(limits);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Subscribers(Arc<Mutex<Open>>);

/// The limits on open streams and connections.
///
/// ```
/// use carafe_http::SubscriberLimits;
///
/// let mut limits = SubscriberLimits::default();
/// limits.per_address = 20;
/// limits.connections_per_address = 50;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriberLimits {
    /// Streams in all.
    pub total: usize,
    /// Streams of one client address; an IPv6 client is counted by its /64.
    pub per_address: usize,
    /// Connections from one client address, including those of its streams. A
    /// [server](crate::serve) closes further ones at once.
    pub connections_per_address: usize,
}

impl Default for SubscriberLimits {
    /// No limits.
    fn default() -> Self {
        Self { total: usize::MAX, per_address: usize::MAX, connections_per_address: usize::MAX }
    }
}

#[derive(Debug, Default)]
struct Open {
    limits: SubscriberLimits,
    total: usize,
    // Only clients with something open: the map is never larger than the number of streams and
    // connections.
    by_address: HashMap<ClientAddress, Count>,
}

/// What one client has open.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    streams: u32,
    connections: u32,
}

impl Subscribers {
    /// These limits.
    #[must_use]
    pub fn new(limits: SubscriberLimits) -> Self {
        Self(Arc::new(Mutex::new(Open { limits, ..Open::default() })))
    }

    /// Sets other limits. Open streams stay, even if they exceed the new limits.
    pub fn set(&self, limits: SubscriberLimits) {
        self.open().limits = limits;
    }

    /// Counts one more stream until the permit is dropped, or names the limit that forbids it.
    pub(crate) fn admit(&self, client: Option<ClientAddress>) -> Result<Permit, Limit> {
        self.open().admit(client)?;
        Ok(Permit { subscribers: self.clone(), client })
    }

    /// Counts one more connection until the permit is dropped, or names the limit that forbids
    /// it.
    #[cfg(feature = "server")]
    pub(crate) fn connect(&self, client: ClientAddress) -> Result<ConnectionPermit, Limit> {
        self.open().connect(client)?;
        Ok(ConnectionPermit { subscribers: self.clone(), client, handed_over: false })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn admit(&mut self, client: Option<ClientAddress>) -> Result<(), Limit> {
        // Both checks before either count: a refusal changes nothing.
        if self.total >= self.limits.total {
            return Err(Limit::Subscribers);
        }
        if let Some(client) = client {
            let count = self.by_address.get(&client).copied().unwrap_or_default();
            if count.streams as usize >= self.limits.per_address {
                return Err(Limit::SubscribersPerAddress);
            }
            self.by_address.insert(client, Count { streams: count.streams + 1, ..count });
        }
        self.total += 1;
        Ok(())
    }

    fn leave(&mut self, client: Option<ClientAddress>) {
        // Each permit was counted once, and its drop runs once.
        self.total -= 1;
        client.into_iter().for_each(|client| self.change(client, |count| count.streams -= 1));
    }

    #[cfg(feature = "server")]
    fn connect(&mut self, client: ClientAddress) -> Result<(), Limit> {
        let count = self.by_address.get(&client).copied().unwrap_or_default();
        if count.connections as usize >= self.limits.connections_per_address {
            return Err(Limit::ConnectionsPerAddress);
        }
        self.by_address.insert(client, Count { connections: count.connections + 1, ..count });
        Ok(())
    }

    fn disconnect(&mut self, client: ClientAddress) {
        self.change(client, |count| count.connections -= 1);
    }

    /// Changes the counts of a client, and forgets a client that has nothing open.
    fn change(&mut self, client: ClientAddress, change: impl FnOnce(&mut Count)) {
        let Entry::Occupied(mut open) = self.by_address.entry(client) else { return };
        change(open.get_mut());
        if open.get().streams == 0 && open.get().connections == 0 {
            open.remove();
        }
    }
}

/// The permit of one open stream.
#[derive(Debug)]
pub(crate) struct Permit {
    subscribers: Subscribers,
    client: Option<ClientAddress>,
}

impl Permit {
    /// The client address that the stream is counted for.
    pub(crate) fn client(&self) -> Option<ClientAddress> {
        self.client
    }
}

impl Permit {
    /// Ends the connection whose permit this one has taken over.
    pub(crate) fn disconnect(&self) {
        self.client.into_iter().for_each(|client| self.subscribers.open().disconnect(client));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.subscribers.open().leave(self.client);
    }
}

/// The permit of one open connection.
#[cfg(feature = "server")]
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    subscribers: Subscribers,
    client: ClientAddress,
    handed_over: bool,
}

#[cfg(feature = "server")]
impl ConnectionPermit {
    /// Lets the stream's permit count the connection, too: a stream of a shard has no room for
    /// two permits. `false` if the stream is counted for another address, as behind a proxy, or
    /// elsewhere. Then the connection is no longer counted.
    pub(crate) fn hand_over(mut self, stream: &Permit) -> bool {
        self.handed_over = stream.client == Some(self.client)
            // The counts of another `Subscribers` know nothing of this connection.
            && Arc::ptr_eq(&self.subscribers.0, &stream.subscribers.0);
        self.handed_over
    }
}

#[cfg(feature = "server")]
impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        if !self.handed_over {
            self.subscribers.open().disconnect(self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn client(bits: u32) -> Option<ClientAddress> {
        Some(IpAddr::from(bits.to_be_bytes()).into())
    }

    #[test]
    fn streams_are_counted_in_all_and_for_each_client_until_they_end() {
        let subscribers = Subscribers::new(SubscriberLimits {
            total: 4,
            per_address: 2,
            ..SubscriberLimits::default()
        });
        let first = subscribers.admit(client(1)).unwrap();
        let _second = subscribers.admit(client(1)).unwrap();
        assert_eq!(subscribers.admit(client(1)).unwrap_err(), Limit::SubscribersPerAddress);
        let _other = subscribers.admit(client(2)).unwrap();
        let unknown = subscribers.admit(None).unwrap();
        assert_eq!(subscribers.admit(client(2)).unwrap_err(), Limit::Subscribers);
        drop(first);
        let again = subscribers.admit(client(1)).unwrap();
        drop(unknown);
        assert_eq!(subscribers.admit(client(1)).unwrap_err(), Limit::SubscribersPerAddress);
        drop(again);
        subscribers.admit(client(1)).unwrap();
    }

    #[test]
    fn clients_without_streams_leave_nothing() {
        let subscribers = Subscribers::default();
        (0..1000).for_each(|bits| drop(subscribers.admit(client(bits))));
        (0..1000).for_each(|bits| drop(subscribers.connect(client(bits).unwrap())));
        assert!(subscribers.open().by_address.is_empty());
    }

    #[test]
    fn a_permit_is_small() {
        assert!(size_of::<Permit>() <= 24, "{}", size_of::<Permit>());
    }

    #[test]
    fn limits_that_are_lowered_hold_for_newcomers() {
        let subscribers = Subscribers::default();
        let (_one, two) =
            (subscribers.admit(client(1)).unwrap(), subscribers.admit(client(1)).unwrap());
        subscribers.set(SubscriberLimits {
            total: 1,
            per_address: 1,
            ..SubscriberLimits::default()
        });
        assert_eq!(subscribers.admit(client(2)).unwrap_err(), Limit::Subscribers);
        drop(two);
        assert_eq!(subscribers.admit(client(2)).unwrap_err(), Limit::Subscribers);
    }

    #[test]
    fn a_connection_is_counted_as_long_as_it_or_its_stream_is_open() {
        let subscribers = Subscribers::new(SubscriberLimits {
            connections_per_address: 1,
            ..SubscriberLimits::default()
        });
        let connect = |bits| subscribers.connect(client(bits).unwrap());
        let first = connect(1).unwrap();
        assert_eq!(connect(1).unwrap_err(), Limit::ConnectionsPerAddress);
        drop((connect(2).unwrap(), first));
        let stream = subscribers.admit(client(1)).unwrap();
        assert!(connect(1).unwrap().hand_over(&stream));
        assert_eq!(connect(1).unwrap_err(), Limit::ConnectionsPerAddress);
        stream.disconnect();
        assert!(!connect(2).unwrap().hand_over(&stream), "another client's");
        let elsewhere = Subscribers::default().admit(client(1)).unwrap();
        assert!(!connect(1).unwrap().hand_over(&elsewhere));
        drop((stream, connect(1).unwrap()));
        assert!(subscribers.open().by_address.is_empty());
    }
}
