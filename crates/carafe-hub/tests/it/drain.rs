//! The orderly end of all streams.

use carafe_hub::{PublishError, Start, Subscribe, SubscribeError};
use carafe_protocol::TopicMatcher;

use crate::fixture::{FORMATS, Rig, after, at_once, data, publication, subscribe};
use crate::listener::{Item, Listener, Polled};

fn everything() -> Subscribe {
    Subscribe::to(TopicMatcher::any())
}

fn waiting(rig: &Rig, count: usize) -> Vec<Listener> {
    let mut listeners: Vec<_> = (0..count).map(|_| rig.listen(everything())).collect();
    listeners.iter_mut().for_each(|listener| drop(listener.receive()));
    listeners
}

#[test]
fn a_stream_ends_only_after_everything_that_was_published() {
    for format in FORMATS {
        let rig = Rig::keeping(1000);
        let mut live = rig.listen_in(format, everything());
        live.receive();
        let mut replaying = rig.listen_in(format, everything().from(Start::Earliest));
        let expected: Vec<_> = (0..600).map(|n| n.to_string()).collect();
        rig.count("a", 600);
        assert_eq!(rig.hub.drain().end(2), 2);
        assert_eq!(data(&live.hear_to_the_end()), expected);
        assert_eq!(data(&replaying.hear_to_the_end()), expected);
        assert_eq!(live.poll(), Polled::Ended, "and stays ended");
    }
}

#[test]
fn a_gap_and_the_position_are_sent_before_the_end() {
    let rig = Rig::keeping(2);
    let first = rig.count("a", 5)[0];
    let mut listener = rig.listen(everything().from(after(first)));
    rig.hub.drain().end(1);
    let received = listener.hear_to_the_end();
    assert!(matches!(received[..2], [Item::Gap(_), Item::Position(_)]), "{received:?}");
    assert_eq!(data(&received), ["3", "4"]);
}

#[test]
fn a_draining_hub_rejects_subscriptions_and_events() {
    let rig = Rig::roomy();
    let mut listener = rig.listen(everything());
    assert!(!rig.hub.is_draining());
    let drain = rig.hub.drain();
    assert!(rig.hub.is_draining());
    assert_eq!(subscribe(&rig.hub, everything()).err(), Some(SubscribeError::Draining));
    assert_eq!(at_once(rig.hub.publish(publication("a", ""))), Err(PublishError::Draining));
    assert_eq!((drain.open(), rig.span().oldest), (1, None));
    assert_eq!(listener.receive().len(), 1, "the position, and not the end");
}

#[test]
fn a_closed_hub_has_ended_its_streams_and_stores_nothing_more() {
    let rig = Rig::roomy();
    let mut listener = rig.listen(everything());
    rig.count("a", 3);
    at_once(rig.hub.close());
    assert_eq!(data(&listener.hear_to_the_end()), ["0", "1", "2"]);
    assert_eq!(at_once(rig.hub.publish(publication("a", ""))), Err(PublishError::Draining));
    assert_eq!(subscribe(&rig.hub, everything()).err(), Some(SubscribeError::Draining));
}

#[test]
fn streams_end_at_the_pace_at_which_the_drain_is_driven() {
    let rig = Rig::roomy();
    let mut listeners = waiting(&rig, 5);
    let drain = rig.hub.drain();
    let mut ended = 0;
    for (count, more) in [(0, 0), (2, 2), (1, 1), (10, 2), (10, 0)] {
        assert_eq!(drain.clone().end(count), more);
        ended += more;
        let woken = listeners.iter().filter(|listener| listener.wakes() > 0).count();
        let polled: Vec<_> = listeners.iter_mut().map(Listener::poll).collect();
        let over = polled.iter().filter(|polled| **polled == Polled::Ended).count();
        assert_eq!((woken, over), (ended, ended), "those that end are woken, and no others");
    }
}

#[test]
fn a_stream_is_open_until_it_is_dropped() {
    let rig = Rig::roomy();
    let mut listeners = waiting(&rig, 3);
    let drain = rig.hub.drain();
    listeners.pop();
    assert_eq!((drain.open(), drain.end(usize::MAX)), (2, 2));
    assert_eq!(drain.open(), 2, "they have not been polled yet");
    listeners.clear();
    assert_eq!((drain.open(), drain.end(1)), (0, 0));
}

#[test]
fn draining_twice_is_one_drain() {
    let rig = Rig::roomy();
    let _listeners = waiting(&rig, 3);
    assert_eq!(rig.hub.drain().end(2), 2);
    assert_eq!(rig.hub.clone().drain().end(2), 1);
}
