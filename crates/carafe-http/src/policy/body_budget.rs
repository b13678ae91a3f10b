//! The memory for request bodies, in all and for each client.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use crate::policy::publish_rate::Publisher;

/// Memory is reserved in units of 1 KiB. A body takes at least one, which covers a small
/// request as a whole.
const UNIT: usize = 1 << 10;

/// One client may hold one part in so many of the budget.
const SHARE: usize = 2;

/// One part in so many of the budget is reserved for small bodies.
const KEPT: usize = 8;

/// The most bytes of a small body.
pub(crate) const SMALL: usize = 64 << 10;

/// The memory budget for request bodies, from before they are read until they are stored and
/// answered. Clones share it.
///
/// One client may hold half of the budget; a larger body is rejected. A client is the holder of a
/// token, else an address, as for the [publish rate](crate::PublishRate). An eighth is reserved for
/// bodies up to 64 KiB, so that large bodies that arrive slowly do not keep out small ones.
///
/// ```
/// use carafe_http::{BodyBudget, Options};
///
/// let mut options = Options::default();
/// options.body_budget = BodyBudget::new(32 << 20);
/// // Every batch that the options allow fits into the budget.
/// assert!(options.batch_bytes <= options.body_budget.largest_body());
/// ```
#[derive(Clone, Debug)]
pub struct BodyBudget(Arc<BudgetPools>);

#[derive(Debug)]
struct BudgetPools {
    any: Arc<Pool>,
    small: Arc<Pool>,
    /// The most units in use since this was last read.
    peak: AtomicUsize,
}

/// A part of the budget.
#[derive(Debug)]
struct Pool {
    free: Arc<Semaphore>,
    units: usize,
    /// The units that one client may hold.
    share: usize,
    // Held for lookups only, never across an await. No other lock is taken meanwhile.
    clients: Mutex<HashMap<Publisher, ClientShare>>,
}

/// A client with bodies in memory.
#[derive(Debug)]
struct ClientShare {
    free: Arc<Semaphore>,
    bodies: usize,
}

/// Why there is no memory for a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// The body exceeds what one client may ever hold.
    Ever,
    /// Other bodies of the same client hold its share.
    OfClient,
    /// Bodies of all clients hold the whole budget.
    AtAll,
}

/// The reservation of one body, which ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    of_all: Option<OwnedSemaphorePermit>,
    of_client: Option<OwnedSemaphorePermit>,
    entry: PoolEntry,
    /// The body may use what is reserved for small ones.
    is_small: bool,
    budget: BodyBudget,
}

/// The entry of one body in a pool, counted for its client.
#[derive(Debug)]
struct PoolEntry {
    pool: Arc<Pool>,
    client: Option<(Publisher, Arc<Semaphore>)>,
}

impl Default for BodyBudget {
    /// 64 MiB.
    fn default() -> Self {
        Self::new(64 << 20)
    }
}

impl BodyBudget {
    /// A budget of so many bytes, at least 2 KiB.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        // At least one unit for each of the two shares; at most what a semaphore can count.
        let units = (bytes / UNIT).clamp(SHARE, Semaphore::MAX_PERMITS);
        let small = Pool::new(units / KEPT, units / KEPT / SHARE);
        let any = Pool::new(units - small.units, units / SHARE);
        Self(Arc::new(BudgetPools { any, small, peak: AtomicUsize::new(0) }))
    }

    /// The bytes of the largest body that can ever be accepted.
    #[must_use]
    pub fn largest_body(&self) -> usize {
        self.0.any.share.saturating_mul(UNIT)
    }

    /// The most bytes that were in use at once since the last call.
    #[must_use]
    pub fn take_peak(&self) -> usize {
        // Relaxed: a statistic. A reservation between the two reads is in this peak or in the next.
        self.0.peak.swap(self.0.held(), Relaxed).saturating_mul(UNIT)
    }

    /// A reservation for a body of at most so many bytes, which is empty at first. Clients that
    /// cannot be distinguished share the whole budget.
    pub(crate) fn begin(&self, publisher: Option<Publisher>, most: usize) -> Held {
        let entry = PoolEntry::new(&self.0.any, publisher);
        let is_small = most <= SMALL.min(self.0.small.share * UNIT);
        Held { of_all: None, of_client: None, entry, is_small, budget: self.clone() }
    }
}

impl BudgetPools {
    fn held(&self) -> usize {
        [&self.any, &self.small].map(|pool| pool.units - pool.free.available_permits()).iter().sum()
    }
}

impl Pool {
    fn new(units: usize, share: usize) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(units));
        Arc::new(Self { free, units, share, clients: Mutex::default() })
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<Publisher, ClientShare>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoolEntry {
    fn new(pool: &Arc<Pool>, publisher: Option<Publisher>) -> Self {
        let client = publisher.map(|publisher| {
            let mut clients = pool.clients();
            let new = || ClientShare { free: Arc::new(Semaphore::new(pool.share)), bodies: 0 };
            let client = clients.entry(publisher).or_insert_with(new);
            client.bodies += 1;
            (publisher, Arc::clone(&client.free))
        });
        Self { pool: Arc::clone(pool), client }
    }
}

impl PoolEntry {
    /// One more entry of the same client.
    fn another(&self) -> Self {
        Self::new(&self.pool, self.client.as_ref().map(|(publisher, _)| *publisher))
    }
}

impl Drop for PoolEntry {
    fn drop(&mut self) {
        let Some((publisher, _)) = &self.client else { return };
        let mut clients = self.pool.clients();
        if let Some(client) = clients.get_mut(publisher) {
            client.bodies -= 1;
            if client.bodies == 0 {
                clients.remove(publisher);
            }
        }
    }
}

impl Held {
    /// Extends the reservation to `bytes`. It waits for other reservations to end, at most for
    /// `patience`, and subtracts the time.
    ///
    /// Two bodies may wait for each other; the end of their patience resolves that.
    pub(crate) async fn grow_to(
        &mut self,
        bytes: usize,
        patience: &mut Duration,
    ) -> Result<(), NoRoom> {
        let units = bytes.div_ceil(UNIT);
        let held = self.of_all.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if units <= held {
            return Ok(());
        }
        // A wait for more than the share would never end.
        if units > self.entry.pool.share {
            return Err(NoRoom::Ever);
        }
        let more = u32::try_from(units - held).map_err(|_| NoRoom::Ever)?;
        // A body that has begun in one pool stays there: its permits belong to that pool.
        if self.is_small && held == 0 {
            self.begin_small(more, patience).await?;
        } else {
            self.grow_by(more, patience).await?;
        }
        self.budget.0.peak.fetch_max(self.budget.0.held(), Relaxed);
        Ok(())
    }

    /// Extends the reservation to `bytes` if there is room now.
    pub(crate) async fn has_room(&mut self, bytes: usize) -> bool {
        // Without patience it does not wait.
        self.grow_to(bytes, &mut { Duration::ZERO }).await.is_ok()
    }

    /// A small body that finds no memory at once may wait for the reserved part.
    async fn begin_small(&mut self, units: u32, patience: &mut Duration) -> Result<(), NoRoom> {
        if self.grow_by(units, &mut { Duration::ZERO }).await.is_ok() {
            return Ok(());
        }
        let publisher = self.entry.client.as_ref().map(|(publisher, _)| *publisher);
        // Holds nothing of the old pool yet, so the entry may be replaced.
        self.entry = PoolEntry::new(&self.budget.0.small, publisher);
        self.grow_by(units, patience).await
    }

    /// Reserves the client's share first: a client that waits for its own share blocks no other
    /// client.
    async fn grow_by(&mut self, units: u32, patience: &mut Duration) -> Result<(), NoRoom> {
        let of_client = match &self.entry.client {
            Some((_, free)) => Some(take(free, units, patience).await.ok_or(NoRoom::OfClient)?),
            None => None,
        };
        // On an error the client's permits drop here: nothing is held by a body that does not grow.
        let of_all = take(&self.entry.pool.free, units, patience).await.ok_or(NoRoom::AtAll)?;
        of_client.into_iter().for_each(|of_client| merge(&mut self.of_client, of_client));
        merge(&mut self.of_all, of_all);
        Ok(())
    }

    /// The most bytes that it can ever be extended to.
    pub(crate) fn largest_body(&self) -> usize {
        self.budget.largest_body()
    }

    /// Takes the reservation out of this one, which is empty then.
    pub(crate) fn take(&mut self) -> Self {
        Self {
            of_all: self.of_all.take(),
            of_client: self.of_client.take(),
            entry: self.entry.another(),
            is_small: self.is_small,
            budget: self.budget.clone(),
        }
    }

    /// Returns what is beyond `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        for permit in [&mut self.of_all, &mut self.of_client].into_iter().flatten() {
            let beyond = permit.num_permits().saturating_sub(bytes.div_ceil(UNIT));
            // `beyond` is at most what the permit has, so `split` never fails.
            drop(permit.split(beyond));
        }
    }
}

async fn take(
    from: &Arc<Semaphore>,
    units: u32,
    patience: &mut Duration,
) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = Arc::clone(from).try_acquire_many_owned(units) {
        return Some(permit);
    }
    if patience.is_zero() {
        return None;
    }
    let start = Instant::now();
    let taken = timeout(*patience, Arc::clone(from).acquire_many_owned(units)).await;
    *patience = patience.saturating_sub(start.elapsed());
    // The semaphore is never closed, so the inner result is always a permit.
    taken.ok()?.ok()
}

fn merge(held: &mut Option<OwnedSemaphorePermit>, more: OwnedSemaphorePermit) {
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
    const LARGE: usize = usize::MAX;

    /// 16 units, two of which are reserved for small bodies: at most one for each client.
    fn budget() -> BodyBudget {
        BodyBudget::new(16 * UNIT)
    }

    /// A large body with a reservation of so many units, made at once.
    fn held(budget: &BodyBudget, client: Option<Publisher>, units: usize) -> Held {
        let mut held = budget.begin(client, LARGE);
        held.grow_to(units * UNIT, &mut SECOND.clone()).now_or_never().expect("no wait").unwrap();
        held
    }

    /// Whether a unit can be reserved within a second.
    async fn room(
        budget: &BodyBudget,
        client: Option<Publisher>,
        most: usize,
    ) -> Result<Held, NoRoom> {
        let mut held = budget.begin(client, most);
        held.grow_to(1, &mut SECOND.clone()).await.map(|()| held)
    }

    fn free(budget: &BodyBudget) -> usize {
        16 - budget.0.held()
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_holds_half_of_the_budget_and_others_the_rest() {
        let budget = budget();
        let first = [held(&budget, A, 7), held(&budget, A, 1)];
        assert_eq!(room(&budget, A, LARGE).await.unwrap_err(), NoRoom::OfClient);
        let second = held(&budget, B, 6);
        assert_eq!(room(&budget, C, LARGE).await.unwrap_err(), NoRoom::AtAll);
        drop(first);
        drop(held(&budget, C, 8));
        assert_eq!(budget.0.any.clients().len(), 1, "who has no body in flight is forgotten");
        drop(second);
        assert_eq!((free(&budget), budget.0.any.clients().len()), (16, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn large_bodies_leave_room_for_small_ones() {
        let budget = budget();
        let _large = [held(&budget, A, 8), held(&budget, B, 6)];
        let small = [room(&budget, A, UNIT).await.unwrap(), room(&budget, C, UNIT).await.unwrap()];
        assert_eq!(free(&budget), 0);
        assert_eq!(room(&budget, A, UNIT).await.unwrap_err(), NoRoom::OfClient);
        assert_eq!(room(&budget, B, UNIT).await.unwrap_err(), NoRoom::AtAll);
        drop(small);
        assert_eq!((free(&budget), budget.0.small.clients().len()), (2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn small_bodies_have_all_that_large_ones_leave() {
        let budget = budget();
        let mut small = Vec::new();
        for _ in 0..9 {
            small.push(room(&budget, A, UNIT).await.unwrap());
        }
        assert_eq!(
            room(&budget, A, UNIT).await.unwrap_err(),
            NoRoom::OfClient,
            "half, and a small one"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_beyond_a_clients_share_is_refused_at_once() {
        let budget = budget();
        assert_eq!(budget.largest_body(), 8 * UNIT);
        let refused =
            budget.begin(A, LARGE).grow_to(8 * UNIT + 1, &mut SECOND.clone()).now_or_never();
        assert_eq!(refused, Some(Err(NoRoom::Ever)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_waits_until_another_gives_its_room_back() {
        let budget = budget();
        let (first, _second) = (held(&budget, A, 8), held(&budget, B, 6));
        let mut third = budget.begin(C, LARGE);
        let mut patience = 5 * SECOND;
        let waits = third.grow_to(UNIT, &mut patience);
        let frees = async {
            tokio::time::sleep(2 * SECOND).await;
            drop(first);
        };
        assert_eq!(tokio::join!(waits, frees).0, Ok(()));
        assert_eq!(patience, 3 * SECOND, "what was waited is not waited again");
    }

    /// Each holds some and waits for more: the first that gives up makes room for the other.
    #[tokio::test(start_paused = true)]
    async fn bodies_that_wait_for_each_other_do_not_wait_for_ever() {
        let budget = budget();
        let grow = async |client, patience: Duration| {
            let mut body = held(&budget, client, 6);
            tokio::task::yield_now().await;
            body.grow_to(8 * UNIT, &mut { patience }).await
        };
        let _third = held(&budget, C, 2);
        let grown = tokio::join!(grow(A, SECOND), grow(B, 2 * SECOND));
        assert_eq!(grown, (Err(NoRoom::AtAll), Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_body_does_not_need_any_more_is_given_back() {
        let budget = budget();
        let mut body = held(&budget, A, 8);
        body.shrink_to(UNIT + 1);
        assert_eq!(free(&budget), 14);
        drop(held(&budget, A, 6));
        body.shrink_to(8 * UNIT);
        drop(body);
        assert_eq!(free(&budget), 16);
    }

    #[tokio::test(start_paused = true)]
    async fn the_peak_is_reported_once() {
        let budget = budget();
        let body = held(&budget, A, 1);
        drop(held(&budget, B, 3));
        assert_eq!([budget.take_peak(), budget.take_peak()], [4 * UNIT, UNIT]);
        drop(body);
        assert_eq!([budget.take_peak(), budget.take_peak()], [UNIT, 0]);
    }
}
