//! Permits to read the log, shared fairly among clients.
//!
//! A semaphore with a queue per client. It has a lock of its own, which is never held together with
//! another, and calls no waker under it.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;

use crate::client::Client;

/// The permits to read the log.
///
/// A free permit goes to the client that has the fewest, and among those to the one that received
/// its last permit first. So a client without a permit waits for at most one permit of each other
/// client, however many requests those have.
pub(crate) struct ReplayPermits {
    // Held for a few steps in maps. No waker is called or dropped meanwhile: either may request a
    // permit, or return one.
    queues: Mutex<Queues>,
}

/// Allows one subscription to read the log, until it is dropped.
pub(crate) struct ReplayPermit<'a> {
    permits: &'a ReplayPermits,
    client: Option<Client>,
}

/// A request for a permit. Dropping it leaves the queue, or passes on the permit that it was
/// assigned.
#[must_use = "the request is made when it is polled"]
pub(crate) struct Acquire<'a> {
    permits: &'a ReplayPermits,
    client: Option<Client>,
    state: AcquireState,
}

enum AcquireState {
    NotRequested,
    Queued(Ticket),
    Acquired,
}

/// Numbers the requests in their order, and the assignments of permits.
type Ticket = u64;

struct Queues {
    /// Permits in all.
    limit: usize,
    /// Permits of one client. A log has few reader threads: more reads of one client would delay
    /// those of others there.
    per_client: usize,
    /// Permits that are assigned.
    assigned: usize,
    waiting: usize,
    waited: u64,
    /// The clients that have a permit, or wait for one.
    clients: BTreeMap<Option<Client>, ClientQueue>,
    /// The clients that wait and may have one permit more: by how many they have, and when they
    /// were assigned their last.
    eligible: BTreeSet<(usize, Ticket, Option<Client>)>,
    /// Requests that were assigned a permit, and have not been polled since.
    unclaimed: BTreeSet<Ticket>,
    last_ticket: Ticket,
}

/// The permits and requests of one client.
#[derive(Default)]
struct ClientQueue {
    assigned: usize,
    /// When the client was assigned its last permit; before that, when it came.
    served: Ticket,
    waiting: BTreeMap<Ticket, Waker>,
}

type Wakers = SmallVec<[Waker; 1]>;

impl ReplayPermits {
    /// At most `limit` permits, and at least one; of each known client at most `per_client`.
    pub(crate) fn new(limit: usize, per_client: usize) -> Self {
        let queues = Queues {
            limit: limit.max(1),
            per_client: per_client.max(1),
            assigned: 0,
            waiting: 0,
            waited: 0,
            clients: BTreeMap::new(),
            eligible: BTreeSet::new(),
            unclaimed: BTreeSet::new(),
            last_ticket: 0,
        };
        Self { queues: Mutex::new(queues) }
    }

    /// Waits for a permit. Requests of unknown clients share one queue.
    pub(crate) fn acquire(&self, client: Option<Client>) -> Acquire<'_> {
        Acquire { permits: self, client, state: AcquireState::NotRequested }
    }

    /// How many requests have a permit, and how many wait for one.
    pub(crate) fn reading_and_waiting(&self) -> (usize, usize) {
        let queues = self.queues();
        (queues.assigned - queues.unclaimed.len(), queues.waiting + queues.unclaimed.len())
    }

    /// How many requests had to wait so far.
    pub(crate) fn waited(&self) -> u64 {
        self.queues().waited
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, client: Option<Client>) {
        let wakers = self.queues().give_back(client);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl<'a> Future for Acquire<'a> {
    type Output = ReplayPermit<'a>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ReplayPermit<'a>> {
        // Declared before the lock guard, and so dropped after it.
        let mut waker = Some(cx.waker().clone());
        let Self { permits, client, state } = &mut *self;
        let mut queues = permits.queues();
        let ticket = match state {
            AcquireState::NotRequested => queues.request(*client, &mut waker),
            // The permit was assigned since the last poll, and counts as this one's already.
            AcquireState::Queued(ticket) if queues.unclaimed.remove(ticket) => None,
            AcquireState::Queued(ticket) => {
                queues.replace_waker(*client, *ticket, &mut waker);
                Some(*ticket)
            }
            AcquireState::Acquired => panic!("a permit is acquired once"),
        };
        drop(queues);
        *state = ticket.map_or(AcquireState::Acquired, AcquireState::Queued);
        if ticket.is_some() {
            Poll::Pending
        } else {
            Poll::Ready(ReplayPermit { permits, client: *client })
        }
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        let AcquireState::Queued(ticket) = self.state else { return };
        let mut queues = self.permits.queues();
        if queues.unclaimed.remove(&ticket) {
            drop(queues);
            return self.permits.give_back(self.client);
        }
        // The waker is dropped after the lock: dropping it may end a task, which may hold a permit.
        let waker = queues.cancel(self.client, ticket);
        drop(queues);
        drop(waker);
    }
}

impl Drop for ReplayPermit<'_> {
    fn drop(&mut self) {
        self.permits.give_back(self.client);
    }
}

impl Queues {
    /// Assigns a permit if one is free, or queues the request with its waker.
    fn request(&mut self, client: Option<Client>, waker: &mut Option<Waker>) -> Option<Ticket> {
        let ticket = self.next_ticket();
        let is_free = self.assigned < self.limit;
        let max = self.max_of(client);
        let queue = self
            .clients
            .entry(client)
            .or_insert_with(|| ClientQueue { served: ticket, ..ClientQueue::default() });
        // No client is overtaken: while a permit is free, no client that may have one more waits.
        if is_free && queue.assigned < max {
            queue.assigned += 1;
            queue.served = ticket;
            self.assigned += 1;
            return None;
        }
        self.waiting += 1;
        self.waited += 1;
        self.update(client, |queue| {
            queue.waiting.extend(waker.take().map(|waker| (ticket, waker)));
        });
        Some(ticket)
    }

    /// Leaves another waker, and returns the one before in its place.
    fn replace_waker(&mut self, client: Option<Client>, ticket: Ticket, waker: &mut Option<Waker>) {
        let queue = self.clients.get_mut(&client);
        let left = queue.and_then(|queue| queue.waiting.get_mut(&ticket));
        if let (Some(left), Some(waker)) = (left, waker) {
            std::mem::swap(left, waker);
        }
    }

    /// Removes a request that waits.
    fn cancel(&mut self, client: Option<Client>, ticket: Ticket) -> Option<Waker> {
        let waker = self.update(client, |queue| queue.waiting.remove(&ticket));
        self.waiting -= usize::from(waker.is_some());
        waker
    }

    /// Takes a permit back, and assigns it. Returns the wakers to call after the lock.
    fn give_back(&mut self, client: Option<Client>) -> Wakers {
        self.assigned -= 1;
        self.update(client, |queue| queue.assigned -= 1);
        let mut wakers = Wakers::new();
        while self.assigned < self.limit
            && let Some((_, _, next)) = self.eligible.first().copied()
        {
            wakers.extend(self.assign(next));
        }
        wakers
    }

    /// Assigns a permit to the first request of this client.
    fn assign(&mut self, client: Option<Client>) -> Option<Waker> {
        let served = self.next_ticket();
        let (ticket, waker) = self.update(client, |queue| {
            queue.assigned += 1;
            queue.served = served;
            queue.waiting.pop_first()
        })?;
        self.assigned += 1;
        self.waiting -= 1;
        self.unclaimed.insert(ticket);
        Some(waker)
    }

    /// Changes the queue of a client, and with it the client's rank among the eligible.
    fn update<T>(
        &mut self,
        client: Option<Client>,
        change: impl FnOnce(&mut ClientQueue) -> T,
    ) -> T {
        let max = self.max_of(client);
        let queue = self.clients.entry(client).or_default();
        // By the old key, before the change: the set is ordered by what changes.
        self.eligible.remove(&(queue.assigned, queue.served, client));
        let changed = change(queue);
        // The map keeps no client without a permit and without a request, so its size is bounded by
        // those.
        if !queue.waiting.is_empty() && queue.assigned < max {
            self.eligible.insert((queue.assigned, queue.served, client));
        } else if queue.waiting.is_empty() && queue.assigned == 0 {
            self.clients.remove(&client);
        }
        changed
    }

    /// Unknown clients cannot be told apart, so together they may have all permits.
    fn max_of(&self, client: Option<Client>) -> usize {
        client.map_or(self.limit, |_| self.per_client)
    }

    fn next_ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        self.last_ticket
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::task::Wake;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    const LIMIT: usize = 3;
    const PER_CLIENT: usize = 2;

    #[derive(Clone, Debug)]
    enum Step {
        Request(Option<u8>),
        /// A request is polled again, with another waker.
        Poll(Index),
        /// A request is dropped, whether it waits or has a permit.
        Drop(Index),
        /// A request with a permit has finished.
        Finish(Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        let client = prop::option::weighted(0.8, 0..4_u8);
        prop_oneof![
            4 => client.prop_map(Step::Request),
            1 => any::<Index>().prop_map(Step::Poll),
            1 => any::<Index>().prop_map(Step::Drop),
            3 => any::<Index>().prop_map(Step::Finish),
        ]
    }

    #[derive(Default)]
    struct Called(AtomicUsize);

    impl Wake for Called {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    struct Request<'a> {
        client: Option<u8>,
        acquire: Option<Pin<Box<Acquire<'a>>>>,
        permit: Option<ReplayPermit<'a>>,
        called: Arc<Called>,
        /// How many permits others were assigned while its client had none.
        passed_over: usize,
    }

    impl<'a> Request<'a> {
        fn new(permits: &'a ReplayPermits, client: Option<u8>) -> Self {
            let acquire = Some(Box::pin(permits.acquire(client.map(Client::of))));
            Self { client, acquire, permit: None, called: Arc::default(), passed_over: 0 }
        }

        /// Whether it has acquired its permit in this poll.
        fn poll(&mut self) -> bool {
            let Some(acquire) = &mut self.acquire else { return false };
            self.called = Arc::default();
            let waker = Arc::clone(&self.called).into();
            let Poll::Ready(permit) = acquire.as_mut().poll(&mut Context::from_waker(&waker))
            else {
                return false;
            };
            (self.acquire, self.permit) = (None, Some(permit));
            true
        }
    }

    /// The permits of each client, as the requests themselves know them.
    fn permits_of(requests: &[Request<'_>]) -> HashMap<Option<u8>, usize> {
        let mut permits = HashMap::new();
        for request in requests.iter().filter(|request| request.permit.is_some()) {
            *permits.entry(request.client).or_default() += 1;
        }
        permits
    }

    /// Polls all requests whose wakers were called, and checks that each permit was assigned
    /// fairly.
    fn claim_permits(requests: &mut [Request<'_>]) {
        while let Some(at) = requests
            .iter()
            .position(|request| request.acquire.is_some() && request.called.0.load(SeqCst) > 0)
        {
            assert!(requests[at].poll(), "its waker is called when it has a permit");
            check_fair(requests, at);
        }
    }

    fn check_fair(requests: &mut [Request<'_>], served: usize) {
        let client = requests[served].client;
        let had = permits_of(requests);
        let most = if client.is_some() { PER_CLIENT } else { LIMIT };
        assert!(had[&client] <= most && had.values().sum::<usize>() <= LIMIT, "{had:?}");
        for request in requests.iter_mut().filter(|request| request.acquire.is_some()) {
            let has_none = !had.contains_key(&request.client) && request.client != client;
            request.passed_over = if has_none { request.passed_over + 1 } else { 0 };
            // Four known clients, and the queue of the unknown ones.
            assert!(
                request.passed_over <= 5,
                "{:?} waits for more than one permit of each other client",
                request.client
            );
        }
    }

    proptest! {
        #[test]
        fn a_client_without_a_permit_waits_for_one_permit_of_each_other_at_most(
            steps in prop::collection::vec(step(), 0..200),
        ) {
            let permits = ReplayPermits::new(LIMIT, PER_CLIENT);
            let mut requests = Vec::new();
            for step in steps {
                match step {
                    Step::Request(client) => {
                        let mut request = Request::new(&permits, client);
                        request.poll();
                        requests.push(request);
                    }
                    Step::Poll(_) | Step::Drop(_) | Step::Finish(_) if requests.is_empty() => {}
                    Step::Poll(at) => {
                        let at = at.index(requests.len());
                        prop_assert!(!requests[at].poll(), "a permit is assigned with a wake");
                    }
                    Step::Drop(at) => drop(requests.swap_remove(at.index(requests.len()))),
                    Step::Finish(at) => {
                        let at = at.index(requests.len());
                        if requests[at].permit.is_some() {
                            requests.swap_remove(at);
                        }
                    }
                }
                claim_permits(&mut requests);
                check_busy(&permits, &requests);
            }
            drop(requests);
            let queues = permits.queues();
            prop_assert!(queues.clients.is_empty() && queues.eligible.is_empty());
            prop_assert!(queues.unclaimed.is_empty());
            prop_assert_eq!((queues.assigned, queues.waiting), (0, 0));
        }
    }

    /// No request waits that may have a free permit.
    fn check_busy(permits: &ReplayPermits, requests: &[Request<'_>]) {
        let had = permits_of(requests);
        let waiting: Vec<_> = requests.iter().filter(|request| request.acquire.is_some()).collect();
        let running: usize = had.values().sum();
        assert_eq!(permits.reading_and_waiting(), (running, waiting.len()));
        let may = |request: &&Request<'_>| {
            had.get(&request.client).copied().unwrap_or_default()
                < if request.client.is_some() { PER_CLIENT } else { LIMIT }
        };
        assert!(running == LIMIT || !waiting.iter().any(may), "{had:?}");
    }

    #[test]
    fn two_hundred_requests_of_one_client_delay_another_by_one_permit() {
        let permits = ReplayPermits::new(64, 64);
        let mut first: Vec<_> = (0..200).map(|_| Request::new(&permits, Some(1))).collect();
        assert_eq!(first.iter_mut().filter_map(|request| request.poll().then_some(())).count(), 64);
        let mut other = Request::new(&permits, Some(2));
        assert!(!other.poll());
        first.swap_remove(0);
        assert_eq!(other.called.0.load(SeqCst), 1);
        assert!(other.poll());
    }
}
