//! Publishers, subscribers and a drain, each on a thread of its own.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::task::Wake;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use carafe_hub::{
    Delivery, Format, Hub, HubLimits, PublishError, Start, Subscribe, Subscription, TableKey,
};
use carafe_log::{Append, MemoryLimits, Publication};
use carafe_protocol::{Decoder, Position, Received, TopicMatcher};
use futures_util::{Stream, StreamExt, stream};

use crate::client::{self, Clients};
use crate::fixture::{Rig, after, at_once, exact, no_ring, pattern, publication, subscribe};
use crate::listener::Item;

const PUBLISHERS: usize = 4;
const EACH: usize = 250;
const ALL: usize = PUBLISHERS * EACH;

/// A thread that waits for longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A received event, by its position and data.
type Event = (Position, String);

/// From the first event on, so that it does not matter when the threads start.
fn everything() -> Subscribe {
    Subscribe::to(TopicMatcher::any()).from(Start::Earliest)
}

/// Runs a future on this thread. A future that hangs fails.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let limited = async { tokio::time::timeout(PATIENCE, future).await };
    runtime.block_on(limited).expect("the stream hangs")
}

/// Appends numbers from several threads, each to a topic of its own, while `meanwhile` runs on this
/// one.
fn while_all_append(append: impl Fn(Vec<Publication>) + Sync, meanwhile: impl FnOnce()) {
    let start = Barrier::new(PUBLISHERS + 1);
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let (start, append) = (&start, &append);
            scope.spawn(move || {
                start.wait();
                let one =
                    |n| publication(&format!("from/{publisher}"), &format!("{publisher} {n}"));
                (0..EACH).for_each(|n| append(vec![one(n)]));
            });
        }
        start.wait();
        meanwhile();
    });
}

fn while_all_publish(hub: &Hub, meanwhile: impl FnOnce()) {
    let append = |batch| assert!(at_once(hub.publish_all(batch)).is_ok());
    while_all_append(append, meanwhile);
}

fn entries(subscription: Subscription) -> impl Stream<Item = Event> {
    subscription.filter_map(async |delivery| match delivery {
        Delivery::Entry(entry) => {
            Some((entry.position, entry.publication.event().data()?.to_owned()))
        }
        Delivery::Position(_) => None,
        other => panic!("{other:?}"),
    })
}

fn frames(subscription: Subscription) -> impl Stream<Item = Event> {
    let mut decoder = Decoder::new();
    let received = subscription.into_frames(Format::Plain).map(move |chunk| {
        let mut input = &chunk[..];
        let received = std::iter::from_fn(|| decoder.decode(&mut input).unwrap()).filter_map(event);
        stream::iter(received.collect::<Vec<_>>())
    });
    received.flatten()
}

fn event(received: Received) -> Option<Event> {
    let Received::Event(event) = received else { panic!("{received:?}") };
    assert_ne!(event.event_type, "carafe.gap");
    (event.event_type == "message").then(|| (event.last_event_id.parse().unwrap(), event.data))
}

fn receive(received: impl Stream<Item = Event>, count: usize) -> Vec<Event> {
    wait(received.take(count).collect())
}

/// Everything is in order, and the events of every publisher are complete and in its order.
fn check_all(received: &[Event], publishers: impl IntoIterator<Item = usize>) {
    assert!(received.is_sorted_by(|(one, _), (next, _)| one.offset < next.offset));
    for publisher in publishers {
        let own = received.iter().filter(|(_, data)| data.starts_with(&format!("{publisher} ")));
        let expected = (0..EACH).map(|n| format!("{publisher} {n}"));
        assert!(
            own.map(|(_, data)| data).eq(expected.collect::<Vec<_>>().iter()),
            "publisher {publisher}"
        );
    }
}

fn check_rings(check: impl Fn(&Rig)) {
    for limits in [HubLimits::default(), no_ring().with_ring_bytes(2_000)] {
        check(&Rig::new(MemoryLimits::default(), limits));
    }
}

#[test]
fn several_threads_publish_to_several_and_nothing_is_lost_or_out_of_order() {
    check_rings(|Rig { hub, .. }| {
        let join = |request| subscribe(hub, request).unwrap();
        let one = join(Subscribe::to_all([exact("from/2"), pattern("from/(2)")]));
        let (tail, all) = (join(Subscribe::to(TopicMatcher::any())), join(everything()));
        thread::scope(|scope| {
            scope.spawn(|| check_all(&receive(entries(one), EACH), [2]));
            scope.spawn(|| check_all(&receive(frames(tail), ALL), 0..PUBLISHERS));
            scope.spawn(|| check_all(&receive(entries(all), ALL), 0..PUBLISHERS));
            while_all_publish(hub, || ());
        });
        assert_eq!(hub.subscriptions(), 0);
    });
}

/// Receives everything, a few events at a time, each time after the last ID.
fn hear_with_interruptions(hub: &Hub) -> Vec<Event> {
    let mut all: Vec<Event> = Vec::new();
    while all.len() < ALL {
        let start = all.last().map_or(Start::Earliest, |(position, _)| after(*position));
        let subscription = subscribe(hub, everything().from(start)).unwrap();
        all.extend(receive(frames(subscription), 7.min(ALL - all.len())));
    }
    all
}

#[test]
fn a_client_that_reconnects_while_all_publish_misses_nothing() {
    check_rings(|Rig { hub, .. }| {
        while_all_publish(hub, || check_all(&hear_with_interruptions(hub), 0..PUBLISHERS));
        assert_eq!(hub.subscriptions(), 0);
    });
}

#[test]
fn a_hub_that_starts_while_all_append_misses_nothing() {
    let log = Rig::roomy().log;
    let append = |batch| assert!(at_once(log.append(batch)).is_ok());
    let mut hub = None;
    while_all_append(append, || hub = Some(Hub::new(log.clone())));
    let hub = hub.unwrap();
    let received = receive(entries(subscribe(&hub, everything()).unwrap()), ALL);
    check_all(&received, 0..PUBLISHERS);
    assert_eq!(hub.position(), received[ALL - 1].0);
    assert_eq!(log.reads(), 0, "all fits into the ring");
}

/// Wakes the thread that drives a dispatcher.
struct Unpark(Thread, AtomicBool);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.store(true, Ordering::SeqCst);
        self.0.unpark();
    }
}

/// Waits until the waker is called.
fn wait_for_wake(wakes: &Unpark) {
    let began = Instant::now();
    while !wakes.1.swap(false, Ordering::SeqCst) {
        assert!(began.elapsed() < PATIENCE, "the wakes is not rung");
        thread::park_timeout(PATIENCE);
    }
}

/// Receives everything through a dispatcher, with one more subscriber for each hundred events.
/// Every second client takes little at once.
fn hear_through_dispatcher(hub: &Hub, count: usize) -> Vec<Vec<Event>> {
    let wakes = Arc::new(Unpark(thread::current(), AtomicBool::new(false)));
    let (mut dispatcher, mut clients) =
        (hub.dispatcher(Arc::clone(&wakes).into()), Clients::default());
    let mut items: Vec<Vec<Event>> = Vec::new();
    while items.len() < count || items.iter().any(|items| items.len() < ALL) {
        if items.len() < count && items.iter().all(|received| received.len() > items.len() * 100) {
            let mut frames = subscribe(hub, everything()).unwrap().into_frames(Format::Plain);
            frames.opening();
            // The waker may be called for it before it is added, or after.
            frames.wait(&Arc::clone(&wakes).into());
            let subscriber = dispatcher.add(frames);
            clients.join(subscriber, Format::Plain, usize::MAX);
            items.push(Vec::new());
        }
        while dispatcher.serve_next(&mut clients) {}
        for (subscriber, received) in clients.take_received() {
            items[subscriber.index()].extend(received.into_iter().filter_map(event_of));
        }
        let blocked: Vec<_> = clients
            .subscribers()
            .filter(|subscriber| dispatcher.blocked_since(*subscriber).is_some())
            .collect();
        for subscriber in clients
            .subscribers()
            .filter(|subscriber| subscriber.index() % 2 == 1)
            .collect::<Vec<_>>()
        {
            clients.get_mut(subscriber).room = 700;
        }
        blocked.iter().for_each(|subscriber| dispatcher.writable(*subscriber));
        let done = items.iter().all(|items| items.len() == ALL);
        if blocked.is_empty() && !done {
            wait_for_wake(&wakes);
            dispatcher.collect_wakes();
        }
    }
    items
}

fn event_of(received: client::Sent) -> Option<Event> {
    match received {
        client::Sent::Item(Item::Event(said)) => Some((said.position, said.data)),
        client::Sent::Item(Item::Position(_)) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn subscribers_added_while_all_publish_receive_everything_once_in_order() {
    check_rings(|Rig { hub, .. }| {
        let mut items = Vec::new();
        while_all_publish(hub, || items = hear_through_dispatcher(hub, 6));
        items.iter().for_each(|received| check_all(received, 0..PUBLISHERS));
        assert_eq!((items.len(), hub.subscriptions()), (6, 0));
    });
}

/// Publishes until the hub drains, and returns every event that was acknowledged.
fn publish_until_the_drain(hub: &Hub) -> Vec<Position> {
    let published =
        (0_u64..).map_while(|n| match at_once(hub.publish(publication("a", &n.to_string()))) {
            Ok(appended) => Some(appended.position),
            Err(PublishError::Draining) => None,
            Err(error) => panic!("{error}"),
        });
    published.collect()
}

#[test]
fn a_drain_during_publishing_ends_every_stream_without_a_missing_event() {
    check_rings(|Rig { hub, .. }| {
        let streams = [(); 3].map(|()| subscribe(hub, everything()).unwrap());
        thread::scope(|scope| {
            let publisher = scope.spawn(|| publish_until_the_drain(hub));
            let streams =
                streams.map(|stream| scope.spawn(|| wait(entries(stream).collect::<Vec<_>>())));
            let first = pin!(entries(subscribe(hub, everything()).unwrap()));
            receive(first, 50);
            assert!(hub.drain().end(usize::MAX) >= 3);
            let published = publisher.join().unwrap();
            for stream in streams {
                let received: Vec<_> =
                    stream.join().unwrap().into_iter().map(|(position, _)| position).collect();
                assert!(received.len() >= 50 && published.starts_with(&received));
            }
        });
    });
}
