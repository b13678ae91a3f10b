//! How much memory the bodies of requests may take, all together and those of one client.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::publish_rate::Publisher;

/// Memory is counted in units of 1 KiB. A body takes at least one, which covers what a small request takes beside its body.
const UNIT: usize = 1 << 10;

/// A part of the budget that one client may hold, so that it cannot keep all others out.
const SHARE: usize = 2;

/// The memory that bodies of requests may take, from before they are read until what they say is stored and answered. All
/// clones are one budget.
///
/// One client may hold half of it; a larger body is refused. A client is who holds a token, else an address, as for the
/// [publish rate](crate::PublishRate).
#[derive(Clone, Debug)]
pub struct BodyBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    free: Arc<Semaphore>,
    units: usize,
    /// The units that one client may hold.
    share: usize,
    /// The most units that were held since somebody asked.
    peak: AtomicUsize,
    // Held to look a client up, and never while something waits.
    clients: Mutex<HashMap<Publisher, Client>>,
}

/// A client with bodies in flight.
#[derive(Debug)]
struct Client {
    free: Arc<Semaphore>,
    bodies: usize,
}

/// Why there is no room for a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// It takes more than one client may ever hold.
    Ever,
    /// Other bodies of its client hold all that the client may.
    OfClient,
    /// Bodies hold the whole budget.
    AtAll,
}

/// The room that one body has. It is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    of_all: Option<OwnedSemaphorePermit>,
    of_client: Option<OwnedSemaphorePermit>,
    client: Option<Place>,
    budget: BodyBudget,
}

/// One body's place among those of its client.
#[derive(Debug)]
struct Place {
    publisher: Publisher,
    free: Arc<Semaphore>,
    budget: BodyBudget,
}

impl Default for BodyBudget {
    /// 64 MiB.
    fn default() -> Self {
        Self::new(64 << 20)
    }
}

impl BodyBudget {
    /// A budget of so many bytes, and of 2 KiB at least.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT).clamp(SHARE, Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(units));
        let (share, peak) = (units / SHARE, AtomicUsize::new(0));
        Self(Arc::new(Shared { free, units, share, peak, clients: Mutex::default() }))
    }

    /// The most bytes that bodies have held at a time since this was last asked.
    #[must_use]
    pub fn take_peak(&self) -> usize {
        self.0.peak.swap(self.0.held(), Relaxed).saturating_mul(UNIT)
    }

    /// The bytes of the largest body that there is ever room for.
    #[must_use]
    pub fn largest_body(&self) -> usize {
        self.0.share.saturating_mul(UNIT)
    }

    /// A body of this client, which holds nothing yet. Where clients are not told from each other, all share the budget.
    pub(crate) fn begin(&self, publisher: Option<Publisher>) -> Held {
        let client = publisher.map(|publisher| self.place(publisher));
        Held { of_all: None, of_client: None, client, budget: self.clone() }
    }

    fn place(&self, publisher: Publisher) -> Place {
        let mut clients = self.clients();
        let new = || Client { free: Arc::new(Semaphore::new(self.0.share)), bodies: 0 };
        let client = clients.entry(publisher).or_insert_with(new);
        client.bodies += 1;
        Place { publisher, free: Arc::clone(&client.free), budget: self.clone() }
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<Publisher, Client>> {
        self.0.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn held(&self) -> usize {
        self.units - self.free.available_permits()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut clients = self.budget.clients();
        if let Some(client) = clients.get_mut(&self.publisher) {
            client.bodies -= 1;
            if client.bodies == 0 {
                clients.remove(&self.publisher);
            }
        }
    }
}

impl Held {
    /// Makes room for `bytes` in all. It waits for others to give theirs back, and takes the time off `patience`.
    ///
    /// Bodies that grow may wait for each other; the end of their patience resolves that.
    pub(crate) async fn grow_to(&mut self, bytes: usize, patience: &mut Duration) -> Result<(), NoRoom> {
        let units = bytes.div_ceil(UNIT);
        let held = self.of_all.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if units <= held {
            return Ok(());
        }
        if units > self.budget.0.share {
            return Err(NoRoom::Ever);
        }
        let more = u32::try_from(units - held).map_err(|_| NoRoom::Ever)?;
        // A client's own first: what waits there holds up no other client.
        if let Some(client) = &self.client {
            let of_client = take(&client.free, more, patience).await.ok_or(NoRoom::OfClient)?;
            join(&mut self.of_client, of_client);
        }
        let of_all = take(&self.budget.0.free, more, patience).await.ok_or(NoRoom::AtAll)?;
        join(&mut self.of_all, of_all);
        self.budget.0.peak.fetch_max(self.budget.0.held(), Relaxed);
        Ok(())
    }

    /// Gives back what is beyond `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        for permit in [&mut self.of_all, &mut self.of_client].into_iter().flatten() {
            let beyond = permit.num_permits().saturating_sub(bytes.div_ceil(UNIT));
            drop(permit.split(beyond));
        }
    }
}

async fn take(from: &Arc<Semaphore>, units: u32, patience: &mut Duration) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = Arc::clone(from).try_acquire_many_owned(units) {
        return Some(permit);
    }
    let start = Instant::now();
    let taken = timeout(*patience, Arc::clone(from).acquire_many_owned(units)).await;
    *patience = patience.saturating_sub(start.elapsed());
    taken.ok()?.ok()
}

fn join(held: &mut Option<OwnedSemaphorePermit>, more: OwnedSemaphorePermit) {
    match held {
        Some(held) => held.merge(more),
        None => *held = Some(more),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const A: Option<Publisher> = Some(Publisher::Holder(1));
    const B: Option<Publisher> = Some(Publisher::Holder(2));
    const C: Option<Publisher> = Some(Publisher::Holder(3));
    const SECOND: Duration = Duration::from_secs(1);

    /// A body with room for so much; it must be there at once.
    fn held(budget: &BodyBudget, client: Option<Publisher>, bytes: usize) -> Held {
        let mut held = budget.begin(client);
        held.grow_to(bytes, &mut Duration::from_secs(5)).now_or_never().expect("no wait").unwrap();
        held
    }

    /// Why there is no room for so much, at the end of one's patience.
    async fn refused(budget: &BodyBudget, client: Option<Publisher>, bytes: usize) -> NoRoom {
        budget.begin(client).grow_to(bytes, &mut SECOND.clone()).await.unwrap_err()
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_holds_half_of_the_budget_and_others_the_rest() {
        let budget = BodyBudget::new(8 * UNIT);
        let first = [held(&budget, A, 3 * UNIT), held(&budget, A, 1)];
        assert_eq!(refused(&budget, A, 1).await, NoRoom::OfClient);
        let second = held(&budget, B, 4 * UNIT);
        assert_eq!(refused(&budget, C, 1).await, NoRoom::AtAll);
        drop(first);
        drop(held(&budget, C, 4 * UNIT));
        assert_eq!(budget.clients().len(), 1, "who has no body in flight is forgotten");
        drop(second);
        assert_eq!((budget.0.free.available_permits(), budget.clients().len()), (8, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_beyond_a_clients_share_is_refused_at_once() {
        let budget = BodyBudget::new(8 * UNIT);
        assert_eq!(budget.largest_body(), 4 * UNIT);
        let refused = budget.begin(A).grow_to(4 * UNIT + 1, &mut SECOND.clone()).now_or_never();
        assert_eq!(refused, Some(Err(NoRoom::Ever)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_waits_until_another_gives_its_room_back() {
        let budget = BodyBudget::new(4 * UNIT);
        let (first, _second) = (held(&budget, A, 2 * UNIT), held(&budget, B, 2 * UNIT));
        let mut third = budget.begin(C);
        let mut patience = 5 * SECOND;
        let waits = third.grow_to(UNIT, &mut patience);
        let frees = async {
            tokio::time::sleep(2 * SECOND).await;
            drop(first);
        };
        assert_eq!(tokio::join!(waits, frees).0, Ok(()));
        assert_eq!(patience, 3 * SECOND, "what was waited is not waited again");
    }

    /// Each holds a half and wants more: the first to lose its patience makes room for the other.
    #[tokio::test(start_paused = true)]
    async fn bodies_that_wait_for_each_other_do_not_wait_for_ever() {
        let budget = BodyBudget::new(8 * UNIT);
        let grow = async |client, patience: Duration| {
            let mut body = held(&budget, client, 3 * UNIT);
            tokio::task::yield_now().await;
            body.grow_to(4 * UNIT, &mut { patience }).await
        };
        let _third = held(&budget, C, 2 * UNIT);
        let grown = tokio::join!(grow(A, SECOND), grow(B, 2 * SECOND));
        assert_eq!(grown, (Err(NoRoom::AtAll), Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn the_most_that_was_held_is_told_once() {
        let budget = BodyBudget::new(8 * UNIT);
        let body = held(&budget, A, UNIT);
        drop(held(&budget, B, 3 * UNIT));
        assert_eq!([budget.take_peak(), budget.take_peak()], [4 * UNIT, UNIT]);
        drop(body);
        assert_eq!([budget.take_peak(), budget.take_peak()], [UNIT, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_body_does_not_need_any_more_is_given_back() {
        let budget = BodyBudget::new(8 * UNIT);
        let mut body = held(&budget, A, 4 * UNIT);
        body.shrink_to(UNIT + 1);
        assert_eq!(budget.0.free.available_permits(), 6);
        drop(held(&budget, A, 2 * UNIT));
        body.shrink_to(4 * UNIT);
        drop(body);
        assert_eq!(budget.0.free.available_permits(), 8);
    }
}
