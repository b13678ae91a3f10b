//! How many streams may be open.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::address::ClientAddress;
use crate::limit::Limit;

/// How many streams may be open at once. All clones of it are one.
#[derive(Clone, Debug, Default)]
pub struct Subscribers(Arc<Mutex<Open>>);

/// How many streams may be open at once, in all and for one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriberLimits {
    /// In all.
    pub total: usize,
    /// For one client address; an IPv6 client is counted by its /64.
    pub per_address: usize,
}

impl Default for SubscriberLimits {
    /// Any number.
    fn default() -> Self {
        Self { total: usize::MAX, per_address: usize::MAX }
    }
}

#[derive(Debug, Default)]
struct Open {
    limits: SubscriberLimits,
    total: usize,
    // Those with open streams only: it is never larger than their number.
    by_address: HashMap<ClientAddress, usize>,
}

impl Subscribers {
    /// At most so many.
    #[must_use]
    pub fn new(limits: SubscriberLimits) -> Self {
        Self(Arc::new(Mutex::new(Open { limits, ..Open::default() })))
    }

    /// Sets other limits. Streams that are open stay, though they may be more.
    pub fn set(&self, limits: SubscriberLimits) {
        self.open().limits = limits;
    }

    /// Counts one more stream, if it may be opened, until the permit is dropped.
    pub(crate) fn admit(&self, client: Option<ClientAddress>) -> Result<Permit, Limit> {
        self.open().admit(client)?;
        Ok(Permit { subscribers: self.clone(), client })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn admit(&mut self, client: Option<ClientAddress>) -> Result<(), Limit> {
        if self.total >= self.limits.total {
            return Err(Limit::Subscribers);
        }
        if let Some(client) = client {
            let open = self.by_address.get(&client).copied().unwrap_or_default();
            if open >= self.limits.per_address {
                return Err(Limit::SubscribersPerAddress);
            }
            self.by_address.insert(client, open + 1);
        }
        self.total += 1;
        Ok(())
    }

    fn leave(&mut self, client: Option<ClientAddress>) {
        self.total -= 1;
        let Some(Entry::Occupied(mut open)) = client.map(|client| self.by_address.entry(client)) else {
            return;
        };
        *open.get_mut() -= 1;
        if *open.get() == 0 {
            open.remove();
        }
    }
}

/// One open stream, counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    subscribers: Subscribers,
    client: Option<ClientAddress>,
}

impl Permit {
    /// Whose stream it is.
    pub(crate) fn client(&self) -> Option<ClientAddress> {
        self.client
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.subscribers.open().leave(self.client);
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
        let subscribers = Subscribers::new(SubscriberLimits { total: 4, per_address: 2 });
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
        assert!(subscribers.open().by_address.is_empty());
    }

    #[test]
    fn a_permit_is_small() {
        assert!(size_of::<Permit>() <= 24, "{}", size_of::<Permit>());
    }

    #[test]
    fn limits_that_are_lowered_hold_for_newcomers() {
        let subscribers = Subscribers::default();
        let (_one, two) = (subscribers.admit(client(1)).unwrap(), subscribers.admit(client(1)).unwrap());
        subscribers.set(SubscriberLimits { total: 1, per_address: 1 });
        assert_eq!(subscribers.admit(client(2)).unwrap_err(), Limit::Subscribers);
        drop(two);
        assert_eq!(subscribers.admit(client(2)).unwrap_err(), Limit::Subscribers);
    }
}
