//! Snapshots: the newest event of each topic, and then new events.

use carafe_hub::{Client, Format, HubLimits, Page, PageLimit, Start, Subscribe, SubscribeError};
use carafe_log::{MemoryLimits, Outcome, Publication, ReadError};
use carafe_protocol::{Position, TopicMatcher};

use crate::fixture::{
    FORMATS, Rig, after, at_once, data, exact, no_ring, pattern, publication, publish, subscribe,
    topic,
};
use crate::listener::{Item, Polled};

/// Hubs that deliver from the ring, and from the log.
fn rigs() -> [Rig; 2] {
    [HubLimits::default(), no_ring()].map(|limits| Rig::new(MemoryLimits::default(), limits))
}

fn latest() -> Subscribe {
    Subscribe::to(TopicMatcher::any()).from(Start::Latest)
}

fn page(rig: &Rig, request: Subscribe, events: usize) -> Page {
    at_once(rig.hub.page(request, PageLimit { events, ..PageLimit::default() })).unwrap()
}

fn values(page: &Page) -> Vec<&str> {
    page.events.iter().map(|event| event.data()).collect()
}

#[test]
fn a_snapshot_comes_before_the_position_and_new_events_after_it() {
    for rig in rigs() {
        for (to, data) in [("lamp", "on"), ("door", "open"), ("lamp", "off")] {
            rig.publish(to, data);
        }
        for format in FORMATS {
            let mut listener = rig.listen_in(format, latest());
            let tail = rig.span().tail;
            let published = rig.publish("door", "shut");
            let received = listener.receive();
            let positions: Vec<Position> = received.iter().map(Item::position).collect();
            let newest = rig.span().tail;
            assert_eq!(positions[positions.len() - 2..], [tail, newest]);
            assert!(matches!(received[received.len() - 2], Item::Position(_)));
            assert_eq!(data(&received).last(), Some(&"shut"));
            assert_eq!(published, newest);
            rig.publish("window", "open");
            assert_eq!(data(&listener.receive()), ["open"]);
        }
        let received = rig.listen(latest()).receive();
        assert_eq!(data(&received), ["off", "shut", "open"]);
    }
}

#[test]
fn an_event_that_is_the_newest_of_several_topics_is_delivered_once() {
    for rig in rigs() {
        publish(&rig.hub, publication("a", "both").with_alternates([topic("b")]));
        assert_eq!(data(&rig.listen(latest()).receive()), ["both"]);
    }
}

#[test]
fn the_last_events_of_several_topics_are_counted_for_each() {
    for rig in rigs() {
        for number in 0..3 {
            rig.publish("a", &format!("a{number}"));
        }
        rig.publish("b", "b0");
        let last = |matchers: &[TopicMatcher], count| {
            let request = Subscribe::to_all(matchers.to_vec()).from(Start::Last(count));
            data(&rig.listen(request).receive()).into_iter().map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(last(&[exact("a"), exact("b")], 1), ["a2", "b0"]);
        assert_eq!(last(&[exact("a"), exact("b")], 2), ["a1", "a2", "b0"]);
        assert_eq!(last(&[exact("a"), exact("b")], 0), [""; 0]);
        assert_eq!(last(&[exact("a"), pattern("b*")], 1), ["b0"], "with a pattern, in all");
        assert_eq!(last(&[exact("a")], 2), ["a1", "a2"]);
    }
}

#[test]
fn a_client_that_resumes_within_a_snapshot_continues_with_all_events() {
    let rig = Rig::roomy();
    for (to, data) in [("a", "1"), ("b", "2"), ("a", "3"), ("b", "4"), ("a", "5")] {
        rig.publish(to, data);
    }
    let snapshot = rig.listen(latest()).receive();
    assert_eq!(data(&snapshot), ["4", "5"]);
    let resumed =
        rig.listen(Subscribe::to(TopicMatcher::any()).from(after(snapshot[0].position())));
    assert_eq!(data(&{ resumed }.receive()), ["5"]);
}

#[test]
fn a_large_snapshot_is_read_in_blocks_and_idle_heartbeats_state_no_position_within() {
    for rig in rigs() {
        for number in 0..300 {
            rig.publish(&format!("state/{number}"), &number.to_string());
        }
        rig.log.hold_reads();
        let request = Subscribe::to(pattern("state/:n")).from(Start::Latest);
        let frames = subscribe(&rig.hub, request.clone()).unwrap().into_frames(Format::Plain);
        let mut frames = frames.with_heartbeat(carafe_hub::Heartbeat::event());
        assert!(frames.opening().is_empty(), "a client without an ID asks again");
        assert_eq!(frames.heartbeat_block(), carafe_protocol::HEARTBEAT);
        rig.log.let_reads_go(usize::from(u16::MAX));
        let received = rig.listen(request).receive();
        assert!(data(&received).into_iter().eq((0..300).map(|number| number.to_string())));
    }
}

#[test]
fn more_topics_than_a_snapshot_may_have_are_refused() {
    let rig = Rig::new(MemoryLimits::default(), HubLimits::default().with_latest_events(2));
    rig.publish("a", "");
    rig.publish("b", "");
    assert_eq!(rig.listen(latest()).receive().len(), 3);
    rig.publish("c", "");
    let refused = subscribe(&rig.hub, latest()).err();
    let error = ReadError::TooManyLatest { limit: 2 };
    assert_eq!(refused, Some(SubscribeError::Read(error)));
}

#[test]
fn snapshots_that_are_not_read_use_no_more_memory_than_they_may() {
    let limits = HubLimits::default().with_snapshot_bytes(32);
    let rig = Rig::new(MemoryLimits::default(), limits);
    rig.publish("a", "");
    rig.publish("b", "");
    let by = |client: u32| latest().by(Client::of(client));
    let first = subscribe(&rig.hub, by(1)).unwrap();
    assert_eq!(subscribe(&rig.hub, by(1)).err(), Some(SubscribeError::TooManySnapshots));
    let mut second = rig.listen(by(2));
    assert_eq!(subscribe(&rig.hub, by(3)).err(), Some(SubscribeError::TooManySnapshots));
    assert_eq!(second.receive().len(), 3);
    let _third = subscribe(&rig.hub, by(3)).unwrap();
    drop(first);
    assert!(subscribe(&rig.hub, by(1)).is_ok());
}

#[test]
fn events_of_a_snapshot_that_are_trimmed_before_they_are_read_are_left_out() {
    let rig = Rig::keeping(3);
    for to in ["a", "b", "c"] {
        rig.publish(to, to);
    }
    let mut listener = rig.listen(latest());
    rig.publish("d", "d");
    let received = listener.receive();
    assert_eq!(data(&received), ["b", "c", "d"]);
    assert_eq!(listener.poll(), Polled::Waiting);
}

#[test]
fn topics_that_have_ended_keep_their_values_and_the_end_follows() {
    for rig in rigs() {
        rig.publish("a", "1");
        rig.publish("b", "2");
        publish(&rig.hub, Publication::end(topic("a"), Outcome::Done));
        assert_eq!(data(&rig.listen(latest()).receive()), ["1", "2"], "a pattern goes on");
        let end = publish(&rig.hub, Publication::end(topic("b"), Outcome::Failed));
        for start in [Start::Latest, Start::Last(1)] {
            let both = Subscribe::to_all([exact("a"), exact("b")]).from(start);
            assert!(rig.hub.has_ended(&both));
            let received = rig.listen(both).hear_to_the_end();
            assert_eq!(data(&received)[..2], ["1", "2"]);
            assert_eq!(received.last().unwrap().position(), end);
        }
        assert!(!rig.hub.has_ended(&latest()));
    }
}

#[test]
fn a_snapshot_is_read_in_pages_and_has_the_value_that_a_topic_has_by_then() {
    let rig = Rig::roomy();
    for to in ["a", "b", "c", "d"] {
        rig.publish(to, to);
    }
    let first = page(&rig, latest(), 2);
    assert_eq!((values(&first), first.is_up_to_date), (vec!["a", "b"], false));
    rig.publish("a", "new a");
    rig.publish("c", "new c");
    let next = |page: &Page| latest().from(Start::LatestAfter(page.next));
    let second = page(&rig, next(&first), 2);
    assert_eq!(values(&second), ["d", "new a"]);
    let third = page(&rig, next(&second), 2);
    assert_eq!((values(&third), third.is_up_to_date), (vec!["new c"], true));
    assert_eq!(third.next, rig.span().tail);
    let foreign = Position { nonce: 1, ..first.next };
    assert_eq!(values(&page(&rig, latest().from(Start::LatestAfter(foreign)), 9)).len(), 4);
}
