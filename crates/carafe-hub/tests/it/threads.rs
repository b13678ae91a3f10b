//! Publishers, subscribers and a drain, each on a thread of its own.

use std::pin::pin;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use carafe_hub::{Delivery, Form, Hub, HubLimits, PublishError, Start, Subscribe, Subscription};
use carafe_log::{Append, MemoryLimits, Publication};
use carafe_protocol::{Decoder, Position, Received, TopicMatcher};
use futures_util::{Stream, StreamExt, stream};

use crate::fixture::{NO_RING, Rig, after, at_once, exact, pattern, publication, subscribe};

const PUBLISHERS: usize = 4;
const EACH: usize = 250;
const ALL: usize = PUBLISHERS * EACH;

/// An event, by its position and data.
type Told = (Position, String);

/// From the first event on, so that a start between two threads does not matter.
fn everything() -> Subscribe {
    Subscribe::to(TopicMatcher::any()).from(Start::Earliest)
}

/// Runs a future on this thread; one that hangs fails.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let limited = async { tokio::time::timeout(Duration::from_secs(30), future).await };
    runtime.block_on(limited).expect("the stream hangs")
}

/// Appends numbers from several threads, each to a topic of its own, while `meanwhile` runs on this one.
fn while_all_append(append: impl Fn(Vec<Publication>) + Sync, meanwhile: impl FnOnce()) {
    let start = Barrier::new(PUBLISHERS + 1);
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let (start, append) = (&start, &append);
            scope.spawn(move || {
                start.wait();
                let one = |n| publication(&format!("from/{publisher}"), &format!("{publisher} {n}"));
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
        Delivery::Entry(entry) => Some((entry.position, entry.publication.event().data()?.to_owned())),
        Delivery::Position(_) => None,
        Delivery::Gap(gap) => panic!("{gap:?}"),
    })
}

fn frames(subscription: Subscription) -> impl Stream<Item = Told> {
    let mut decoder = Decoder::new();
    let told = subscription.into_frames(Form::Plain).map(move |chunk| {
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
        assert!(own.map(|(_, data)| data).eq(expected.collect::<Vec<_>>().iter()), "publisher {publisher}");
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

/// Publishes until the hub drains; every event that it answered for.
fn publish_until_the_drain(hub: &Hub) -> Vec<Position> {
    let published = (0_u64..).map_while(|n| match at_once(hub.publish(publication("a", &n.to_string()))) {
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
            let streams = streams.map(|stream| scope.spawn(|| wait(entries(stream).collect::<Vec<_>>())));
            let first = pin!(entries(subscribe(hub, everything()).unwrap()));
            hear(first, 50);
            assert!(hub.drain().end(usize::MAX) >= 3);
            let published = publisher.join().unwrap();
            for stream in streams {
                let told: Vec<_> = stream.join().unwrap().into_iter().map(|(position, _)| position).collect();
                assert!(told.len() >= 50 && published.starts_with(&told));
            }
        });
    });
}
