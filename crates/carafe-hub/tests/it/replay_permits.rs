//! A limited number of subscriptions read the log at once; the others wait for a permit.

use std::task::{Context, Poll, Waker};

use carafe_hub::{Client, Format, HubCounts, Start, Subscribe};
use carafe_log::MemoryLimits;

use crate::fixture::{Rig, data, exact, no_ring, subscribe};
use crate::listener::Listener;

/// A hub with history that two may read at once, and subscriptions that want to read it, while
/// reads are held.
fn crowd(count: usize) -> (Rig, Vec<Listener>) {
    let rig = Rig::new(MemoryLimits::default(), no_ring().with_replays(2));
    rig.count("a", 3);
    rig.log.hold_reads();
    let request = || Subscribe::to(exact("a")).from(Start::Earliest);
    let mut listeners: Vec<_> = (0..count).map(|_| rig.listen(request())).collect();
    listeners.iter_mut().for_each(|listener| assert_eq!(data(&listener.receive()), [""; 0]));
    (rig, listeners)
}

/// Subscriptions that read, and subscriptions that wait.
fn turns(rig: &Rig) -> (usize, usize) {
    let HubCounts { replays, replays_waiting, .. } = rig.hub.counts();
    (replays, replays_waiting)
}

#[test]
fn a_subscription_without_a_free_permit_waits_for_one_and_is_woken() {
    let (rig, mut listeners) = crowd(5);
    assert_eq!((rig.log.reads(), turns(&rig), rig.hub.counts().replays_waited), (2, (2, 3), 3));
    let mut received = vec![Vec::new(); listeners.len()];
    for _ in 0..2 * listeners.len() {
        rig.log.let_reads_go(1);
        let woken =
            listeners.iter_mut().zip(&mut received).filter(|(listener, _)| listener.wakes() > 0);
        woken.for_each(|(listener, received)| received.extend(listener.receive()));
    }
    assert!(received.iter().all(|received| data(received) == ["0", "1", "2"]), "{received:?}");
    assert_eq!((rig.log.most_reading(), turns(&rig)), (2, (0, 0)));
}

#[test]
fn a_dropped_subscription_gives_up_its_permit_and_its_place_in_the_queue() {
    let (rig, mut listeners) = crowd(5);
    // A subscription that reads, and the first that waits.
    drop(listeners.remove(0));
    drop(listeners.remove(1));
    let woken = listeners.iter_mut().filter(|listener| listener.wakes() > 0);
    assert_eq!(
        woken.map(|listener| drop(listener.receive())).count(),
        1,
        "the turn goes to the next"
    );
    assert_eq!(turns(&rig), (2, 1));
    drop(listeners);
    assert_eq!(turns(&rig), (0, 0));
}

#[test]
fn a_live_subscription_needs_no_permit() {
    let (rig, listeners) = crowd(3);
    let mut live = rig.listen(Subscribe::to(exact("a")));
    rig.publish("a", "live");
    assert_eq!(data(&live.receive()), ["live"]);
    assert_eq!((turns(&rig), listeners.len()), ((2, 1), 3));
}

/// The writer of the bytes may not poll again for long: the next reader must not wait for that.
#[test]
fn a_stream_with_something_to_send_reads_ahead_only_on_request() {
    let rig = Rig::new(MemoryLimits::default(), no_ring().with_replays(1));
    rig.count("a", 300);
    let request = Subscribe::to(exact("a")).from(Start::Earliest);
    let mut frames = subscribe(&rig.hub, request).unwrap().into_frames(Format::Plain);
    let mut cx = Context::from_waker(Waker::noop());
    let mut given = String::new();
    rig.log.hold_reads();
    let mut reads = 0;
    while !given.contains("data: 299\n") {
        match frames.poll_at_hand(&mut cx) {
            Poll::Ready(chunk) => {
                given += std::str::from_utf8(&chunk.unwrap()).unwrap();
                assert_eq!((rig.log.reads(), turns(&rig)), (reads, (0, 0)), "something was given");
            }
            Poll::Pending => {
                reads += 1;
                assert_eq!((rig.log.reads(), turns(&rig)), (reads, (1, 0)), "nothing was at hand");
                rig.log.let_reads_go(1);
            }
        }
    }
    let events = given.matches("data: ").count() - 1;
    assert_eq!((events, reads), (300, 2), "a block has 256, and the position is no event");
}

/// Requests for history of one client and then of another, with this many permits in all and of one
/// client.
fn two_clients(replays: usize, per_client: usize) -> (Rig, Vec<Listener>, Listener) {
    let limits = no_ring().with_replays(replays).with_replays_per_client(per_client);
    let rig = Rig::new(MemoryLimits::default(), limits);
    rig.count("a", 3);
    rig.log.hold_reads();
    let request = |client| Subscribe::to(exact("a")).from(Start::Earliest).by(Client::of(client));
    let mut many: Vec<_> = (0..200).map(|_| rig.listen(request("one"))).collect();
    many.iter_mut().for_each(|listener| assert_eq!(data(&listener.receive()), [""; 0]));
    let other = rig.listen(request("other"));
    (rig, many, other)
}

#[test]
fn a_client_after_two_hundred_requests_of_another_is_next() {
    let (rig, many, mut other) = two_clients(2, 2);
    assert_eq!(data(&other.receive()), [""; 0]);
    assert_eq!(turns(&rig), (2, 199));
    drop(many.into_iter().next());
    assert_eq!(other.wakes(), 1, "the first turn that is free is its own");
}

#[test]
fn one_client_does_not_have_all_permits() {
    let (rig, _many, mut other) = two_clients(64, 4);
    assert_eq!((rig.log.reads(), turns(&rig)), (4, (4, 196)));
    other.receive();
    assert_eq!((rig.log.reads(), turns(&rig)), (5, (5, 196)));
}
