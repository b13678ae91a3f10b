//! Who reads the log, and in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;

use crate::Client;

/// The turns in which the log is read, shared fairly among clients.
///
/// A turn that is free goes to the client that has the fewest, and among those to the one that was
/// served the longest ago. So a client without a turn waits for at most one turn of each other
/// client, however many requests those have.
pub(crate) struct Replays {
    // Held for a few steps in maps. No waker is called or dropped meanwhile: either may ask for a
    // turn, or give one back.
    lines: Mutex<Lines>,
}

/// Lets one subscription read the log, until it is dropped.
pub(crate) struct Turn<'a> {
    replays: &'a Replays,
    client: Option<Client>,
}

/// Asks for a turn. Dropping it leaves the line, or passes on the turn that it was given.
#[must_use = "it asks when it is polled"]
pub(crate) struct Asking<'a> {
    replays: &'a Replays,
    client: Option<Client>,
    place: Place,
}

enum Place {
    Nowhere,
    InLine(Number),
    Served,
}

/// Numbers who waits, in the order of asking.
type Number = u64;

struct Lines {
    /// Turns at once.
    limit: usize,
    /// Turns at once of one client. A log has few readers: what one client has beyond would stand
    /// in the others' way there.
    per_client: usize,
    running: usize,
    waiting: usize,
    waited: u64,
    /// Those that have a turn, or wait for one.
    clients: BTreeMap<Option<Client>, Line>,
    /// Those that wait and may have one turn more: by how many they have, and when they were
    /// served.
    ready: BTreeSet<(usize, Number, Option<Client>)>,
    /// Who has been given a turn, and has yet to take it.
    given: BTreeSet<Number>,
    /// The next number.
    next: Number,
}

/// What one client has and waits for.
#[derive(Default)]
struct Line {
    running: usize,
    /// When it was given a turn; before that, when it came.
    served: Number,
    waiting: BTreeMap<Number, Waker>,
}

type Wakers = SmallVec<[Waker; 1]>;

impl Replays {
    /// At most `limit` turns at once, and at least one; of each known client at most `per_client`.
    pub(crate) fn new(limit: usize, per_client: usize) -> Self {
        let lines = Lines {
            limit: limit.max(1),
            per_client: per_client.max(1),
            running: 0,
            waiting: 0,
            waited: 0,
            clients: BTreeMap::new(),
            ready: BTreeSet::new(),
            given: BTreeSet::new(),
            next: 0,
        };
        Self { lines: Mutex::new(lines) }
    }

    /// Waits for a turn. Requests of unknown clients stand in one line.
    pub(crate) fn turn(&self, client: Option<Client>) -> Asking<'_> {
        Asking { replays: self, client, place: Place::Nowhere }
    }

    /// How many read now, and how many wait for their turn.
    pub(crate) fn reading_and_waiting(&self) -> (usize, usize) {
        let lines = self.lines();
        (lines.running - lines.given.len(), lines.waiting + lines.given.len())
    }

    /// How many had to wait so far.
    pub(crate) fn waited(&self) -> u64 {
        self.lines().waited
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, client: Option<Client>) {
        let wakers = self.lines().give_back(client);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl<'a> Future for Asking<'a> {
    type Output = Turn<'a>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Turn<'a>> {
        // Declared before the lock, and so dropped after it.
        let mut waker = Some(cx.waker().clone());
        let Self { replays, client, place } = &mut *self;
        let mut lines = replays.lines();
        let number = match place {
            Place::Nowhere => lines.ask(*client, &mut waker),
            Place::InLine(number) if lines.given.remove(number) => None,
            Place::InLine(number) => {
                lines.wait_on(*client, *number, &mut waker);
                Some(*number)
            }
            Place::Served => panic!("a turn is given once"),
        };
        drop(lines);
        *place = number.map_or(Place::Served, Place::InLine);
        if number.is_some() {
            Poll::Pending
        } else {
            Poll::Ready(Turn { replays, client: *client })
        }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let Place::InLine(number) = self.place else { return };
        let mut lines = self.replays.lines();
        if lines.given.remove(&number) {
            drop(lines);
            return self.replays.give_back(self.client);
        }
        let waker = lines.leave(self.client, number);
        drop(lines);
        drop(waker);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.replays.give_back(self.client);
    }
}

impl Lines {
    /// Takes a turn if one is free, or a place in the client's line, with the waker.
    fn ask(&mut self, client: Option<Client>, waker: &mut Option<Waker>) -> Option<Number> {
        let number = self.number();
        let free = self.running < self.limit;
        let most = self.most(client);
        let line = self
            .clients
            .entry(client)
            .or_insert_with(|| Line { served: number, ..Line::default() });
        if free && line.running < most {
            line.running += 1;
            line.served = number;
            self.running += 1;
            return None;
        }
        self.waiting += 1;
        self.waited += 1;
        self.change(client, |line| line.waiting.extend(waker.take().map(|waker| (number, waker))));
        Some(number)
    }

    /// Leaves another waker, and gives the one that was left before.
    fn wait_on(&mut self, client: Option<Client>, number: Number, waker: &mut Option<Waker>) {
        let line = self.clients.get_mut(&client);
        let left = line.and_then(|line| line.waiting.get_mut(&number));
        if let (Some(left), Some(waker)) = (left, waker) {
            std::mem::swap(left, waker);
        }
    }

    fn leave(&mut self, client: Option<Client>, number: Number) -> Option<Waker> {
        let waker = self.change(client, |line| line.waiting.remove(&number));
        self.waiting -= usize::from(waker.is_some());
        waker
    }

    fn give_back(&mut self, client: Option<Client>) -> Wakers {
        self.running -= 1;
        self.change(client, |line| line.running -= 1);
        let mut wakers = Wakers::new();
        while self.running < self.limit
            && let Some((_, _, next)) = self.ready.first().copied()
        {
            wakers.extend(self.give(next));
        }
        wakers
    }

    /// Gives a turn to the first in this client's line.
    fn give(&mut self, client: Option<Client>) -> Option<Waker> {
        let served = self.number();
        let (number, waker) = self.change(client, |line| {
            line.running += 1;
            line.served = served;
            line.waiting.pop_first()
        })?;
        self.running += 1;
        self.waiting -= 1;
        self.given.insert(number);
        Some(waker)
    }

    /// Changes a line, and with it the line's place among the others.
    fn change<T>(&mut self, client: Option<Client>, change: impl FnOnce(&mut Line) -> T) -> T {
        let most = self.most(client);
        let line = self.clients.entry(client).or_default();
        self.ready.remove(&(line.running, line.served, client));
        let changed = change(line);
        if !line.waiting.is_empty() && line.running < most {
            self.ready.insert((line.running, line.served, client));
        } else if line.waiting.is_empty() && line.running == 0 {
            self.clients.remove(&client);
        }
        changed
    }

    /// Those whom nobody tells from each other have as many turns as there are.
    fn most(&self, client: Option<Client>) -> usize {
        client.map_or(self.limit, |_| self.per_client)
    }

    fn number(&mut self) -> Number {
        self.next += 1;
        self.next
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
        Ask(Option<u8>),
        /// A request is polled again, with another waker.
        Poll(Index),
        /// A request goes away, whether it waits or has a turn.
        Drop(Index),
        /// One that has a turn is done.
        Finish(Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        let client = prop::option::weighted(0.8, 0..4_u8);
        prop_oneof![
            4 => client.prop_map(Step::Ask),
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
        asking: Option<Pin<Box<Asking<'a>>>>,
        turn: Option<Turn<'a>>,
        called: Arc<Called>,
        /// How many turns others were given while its client had none.
        passed_over: usize,
    }

    impl<'a> Request<'a> {
        fn new(replays: &'a Replays, client: Option<u8>) -> Self {
            let asking = Some(Box::pin(replays.turn(client.map(Client::of))));
            Self { client, asking, turn: None, called: Arc::default(), passed_over: 0 }
        }

        /// Whether it has been given a turn just now.
        fn poll(&mut self) -> bool {
            let Some(asking) = &mut self.asking else { return false };
            self.called = Arc::default();
            let waker = Arc::clone(&self.called).into();
            let Poll::Ready(turn) = asking.as_mut().poll(&mut Context::from_waker(&waker)) else {
                return false;
            };
            (self.asking, self.turn) = (None, Some(turn));
            true
        }
    }

    /// Who has turns, as the requests themselves know it.
    fn turns(requests: &[Request<'_>]) -> HashMap<Option<u8>, usize> {
        let mut turns = HashMap::new();
        for request in requests.iter().filter(|request| request.turn.is_some()) {
            *turns.entry(request.client).or_default() += 1;
        }
        turns
    }

    /// Polls all that were called, and checks that each turn was given as it should be.
    fn take_turns(requests: &mut [Request<'_>]) {
        while let Some(at) = requests
            .iter()
            .position(|request| request.asking.is_some() && request.called.0.load(SeqCst) > 0)
        {
            assert!(requests[at].poll(), "it is called when it has a turn");
            check_fair(requests, at);
        }
    }

    fn check_fair(requests: &mut [Request<'_>], served: usize) {
        let client = requests[served].client;
        let had = turns(requests);
        let most = if client.is_some() { PER_CLIENT } else { LIMIT };
        assert!(had[&client] <= most && had.values().sum::<usize>() <= LIMIT, "{had:?}");
        for request in requests.iter_mut().filter(|request| request.asking.is_some()) {
            let has_none = !had.contains_key(&request.client) && request.client != client;
            request.passed_over = if has_none { request.passed_over + 1 } else { 0 };
            // Four known clients, and the line of those that are not known.
            assert!(
                request.passed_over <= 5,
                "{:?} waits for more than a turn of each other",
                request.client
            );
        }
    }

    proptest! {
        #[test]
        fn a_client_without_a_turn_waits_for_one_turn_of_each_other_at_most(
            steps in prop::collection::vec(step(), 0..200),
        ) {
            let replays = Replays::new(LIMIT, PER_CLIENT);
            let mut requests = Vec::new();
            for step in steps {
                match step {
                    Step::Ask(client) => {
                        let mut request = Request::new(&replays, client);
                        request.poll();
                        requests.push(request);
                    }
                    Step::Poll(_) | Step::Drop(_) | Step::Finish(_) if requests.is_empty() => {}
                    Step::Poll(at) => {
                        let at = at.index(requests.len());
                        prop_assert!(!requests[at].poll(), "a turn is given with a call");
                    }
                    Step::Drop(at) => drop(requests.swap_remove(at.index(requests.len()))),
                    Step::Finish(at) => {
                        let at = at.index(requests.len());
                        if requests[at].turn.is_some() {
                            requests.swap_remove(at);
                        }
                    }
                }
                take_turns(&mut requests);
                check_busy(&replays, &requests);
            }
            drop(requests);
            let lines = replays.lines();
            prop_assert!(lines.clients.is_empty() && lines.ready.is_empty() && lines.given.is_empty());
            prop_assert_eq!((lines.running, lines.waiting), (0, 0));
        }
    }

    /// Nobody waits who may have a turn that is free.
    fn check_busy(replays: &Replays, requests: &[Request<'_>]) {
        let had = turns(requests);
        let waiting: Vec<_> = requests.iter().filter(|request| request.asking.is_some()).collect();
        let running: usize = had.values().sum();
        assert_eq!(replays.reading_and_waiting(), (running, waiting.len()));
        let may = |request: &&Request<'_>| {
            had.get(&request.client).copied().unwrap_or_default()
                < if request.client.is_some() { PER_CLIENT } else { LIMIT }
        };
        assert!(running == LIMIT || !waiting.iter().any(may), "{had:?}");
    }

    #[test]
    fn two_hundred_requests_of_one_client_delay_another_by_one_turn() {
        let replays = Replays::new(64, 64);
        let mut first: Vec<_> = (0..200).map(|_| Request::new(&replays, Some(1))).collect();
        assert_eq!(first.iter_mut().filter_map(|request| request.poll().then_some(())).count(), 64);
        let mut other = Request::new(&replays, Some(2));
        assert!(!other.poll());
        first.swap_remove(0);
        assert_eq!(other.called.0.load(SeqCst), 1);
        assert!(other.poll());
    }
}
