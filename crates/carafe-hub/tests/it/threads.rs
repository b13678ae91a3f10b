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
use crate::fixture::{NO_RING, Rig, after, at_once, exact, pattern, publication, subscribe};
use crate::listener::Heard;

const PUBLISHERS: usize = 4;
const EACH: usize = 250;
const ALL: usize = PUBLISHERS * EACH;

/// Who waits for longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// An event, by its position and data.
type Told = (Position, String);

/// From the first event on, so that a start between two threads does not matter.
fn everything() -> Subscribe {
    Subscribe::to(TopicMatcher::any()).from(Start::Earliest)
}

/// Runs a future on this thread; one that hangs fails.
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

fn entries(subscription: Subscription) -> impl Stream<Item = Told> {
    subscription.filter_map(async |delivery| match delivery {
        Delivery::Entry(entry) => {
            Some((entry.position, entry.publication.event().data()?.to_owned()))
        }
        Delivery::Position(_) => None,
        Delivery::Gap(gap) => panic!("{gap:?}"),
    })
}

fn frames(subscription: Subscription) -> impl Stream<Item = Told> {
    let mut decoder = Decoder::new();
    let told = subscription.into_frames(Format::Plain).map(move |chunk| {
        let mut input = &chunk[..];
        let received = std::iter::from_fn(|| decoder.decode(&mut input).unwrap()).filter_map(event);
        stream::iter(received.collect::<Vec<_>>())
    });
    told.flatten()
}

fn event(received: Received) -> Option<Told> {
    let Received::Event(event) = received else { panic!("{received:?}") };
    assert_ne!(event.event_type, "carafe.gap");
    (event.event_type == "message").then(|| (event.last_event_id.parse().unwrap(), event.data))
}

fn hear(told: impl Stream<Item = Told>, count: usize) -> Vec<Told> {
    wait(told.take(count).collect())
}

/// In order, and of every publisher all, in its order.
fn check_all(told: &[Told], publishers: impl IntoIterator<Item = usize>) {
    assert!(told.is_sorted_by(|(one, _), (next, _)| one.offset < next.offset));
    for publisher in publishers {
        let own = told.iter().filter(|(_, data)| data.starts_with(&format!("{publisher} ")));
        let expected = (0..EACH).map(|n| format!("{publisher} {n}"));
        assert!(
            own.map(|(_, data)| data).eq(expected.collect::<Vec<_>>().iter()),
            "publisher {publisher}"
        );
    }
}

fn check_rings(check: impl Fn(&Rig)) {
    for limits in [HubLimits::default(), HubLimits { ring_bytes: 2_000, ..NO_RING }] {
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
            scope.spawn(|| check_all(&hear(entries(one), EACH), [2]));
            scope.spawn(|| check_all(&hear(frames(tail), ALL), 0..PUBLISHERS));
            scope.spawn(|| check_all(&hear(entries(all), ALL), 0..PUBLISHERS));
            while_all_publish(hub, || ());
        });
        assert_eq!(hub.subscriptions(), 0);
    });
}

/// Hears all, a few events at a time, each time after the last ID heard.
fn hear_with_interruptions(hub: &Hub) -> Vec<Told> {
    let mut all: Vec<Told> = Vec::new();
    while all.len() < ALL {
        let start = all.last().map_or(Start::Earliest, |(position, _)| after(*position));
        let subscription = subscribe(hub, everything().from(start)).unwrap();
        all.extend(hear(frames(subscription), 7.min(ALL - all.len())));
    }
    all
}

#[test]
fn who_comes_and_goes_while_all_publish_misses_nothing() {
    check_rings(|Rig { hub, .. }| {
        while_all_publish(hub, || check_all(&hear_with_interruptions(hub), 0..PUBLISHERS));
        assert_eq!(hub.subscriptions(), 0);
    });
}

#[test]
fn a_hub_that_comes_in_between_misses_nothing() {
    let log = Rig::roomy().log;
    let append = |batch| assert!(at_once(log.append(batch)).is_ok());
    let mut hub = None;
    while_all_append(append, || hub = Some(Hub::new(log.clone())));
    let hub = hub.unwrap();
    let told = hear(entries(subscribe(&hub, everything()).unwrap()), ALL);
    check_all(&told, 0..PUBLISHERS);
    assert_eq!(hub.position(), told[ALL - 1].0);
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

/// Waits until the bell is rung.
fn wait_for_bell(bell: &Unpark) {
    let began = Instant::now();
    while !bell.1.swap(false, Ordering::SeqCst) {
        assert!(began.elapsed() < PATIENCE, "the bell is not rung");
        thread::park_timeout(PATIENCE);
    }
}

/// Hears all through a dispatcher, with a seat more for each hundred events; every second client
/// takes little at once.
fn hear_seats(hub: &Hub, count: usize) -> Vec<Vec<Told>> {
    let bell = Arc::new(Unpark(thread::current(), AtomicBool::new(false)));
    let (mut dispatcher, mut clients) =
        (hub.dispatcher(Arc::clone(&bell).into()), Clients::default());
    let mut heard: Vec<Vec<Told>> = Vec::new();
    while heard.len() < count || heard.iter().any(|heard| heard.len() < ALL) {
        if heard.len() < count && heard.iter().all(|told| told.len() > heard.len() * 100) {
            let mut frames = subscribe(hub, everything()).unwrap().into_frames(Format::Plain);
            frames.opening();
            // The bell may be rung for it before it has a seat, or after.
            frames.wait(&Arc::clone(&bell).into());
            let seat = dispatcher.add(frames);
            clients.join(seat, Format::Plain, usize::MAX);
            heard.push(Vec::new());
        }
        while dispatcher.serve_next(&mut clients) {}
        for (seat, told) in clients.take_told() {
            heard[seat.index()].extend(told.into_iter().filter_map(event_of));
        }
        let blocked: Vec<_> =
            clients.seats().filter(|seat| dispatcher.blocked_since(*seat).is_some()).collect();
        for seat in clients.seats().filter(|seat| seat.index() % 2 == 1).collect::<Vec<_>>() {
            clients.get_mut(seat).room = 700;
        }
        blocked.iter().for_each(|seat| dispatcher.writable(*seat));
        let done = heard.iter().all(|heard| heard.len() == ALL);
        if blocked.is_empty() && !done {
            wait_for_bell(&bell);
            dispatcher.collect_wakes();
        }
    }
    heard
}

fn event_of(told: client::Told) -> Option<Told> {
    match told {
        client::Told::Heard(Heard::Event(said)) => Some((said.position, said.data)),
        client::Told::Heard(Heard::Position(_)) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn seats_that_come_while_all_publish_get_all_once_and_in_order() {
    check_rings(|Rig { hub, .. }| {
        let mut heard = Vec::new();
        while_all_publish(hub, || heard = hear_seats(hub, 6));
        heard.iter().for_each(|told| check_all(told, 0..PUBLISHERS));
        assert_eq!((heard.len(), hub.subscriptions()), (6, 0));
    });
}

/// Publishes until the hub drains; every event that it answered for.
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
fn a_drain_amid_publishing_ends_every_stream_without_a_hole() {
    check_rings(|Rig { hub, .. }| {
        let streams = [(); 3].map(|()| subscribe(hub, everything()).unwrap());
        thread::scope(|scope| {
            let publisher = scope.spawn(|| publish_until_the_drain(hub));
            let streams =
                streams.map(|stream| scope.spawn(|| wait(entries(stream).collect::<Vec<_>>())));
            let first = pin!(entries(subscribe(hub, everything()).unwrap()));
            hear(first, 50);
            assert!(hub.drain().end(usize::MAX) >= 3);
            let published = publisher.join().unwrap();
            for stream in streams {
                let told: Vec<_> =
                    stream.join().unwrap().into_iter().map(|(position, _)| position).collect();
                assert!(told.len() >= 50 && published.starts_with(&told));
            }
        });
    });
}
