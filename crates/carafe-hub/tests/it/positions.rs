//! The position of a stream, and where it resumes.

use carafe_hub::{Format, GapReason, HubLimits, Start, Subscribe};
use carafe_log::MemoryLimits;
use carafe_protocol::{Position, TopicMatcher};

use crate::fixture::{FORMATS, Rig, after, data, no_ring, publication, publish, topic};
use crate::listener::Item;

fn everything() -> Subscribe {
    Subscribe::to(TopicMatcher::any())
}

#[track_caller]
fn check(rig: &Rig, start: &Start, position: Position, expected: &[&str]) {
    for format in FORMATS {
        let received =
            rig.listen_in(format, Subscribe::to(topic("a")).from(start.clone())).receive();
        assert_eq!(received[0], Item::Position(position), "{start:?}");
        assert_eq!(data(&received), expected, "{start:?}");
    }
}

#[test]
fn every_stream_begins_with_its_position() {
    for limits in [HubLimits::default(), no_ring()] {
        let rig = Rig::new(MemoryLimits::default(), limits);
        let first = rig.span().start;
        check(&rig, &Start::Tail, first, &[]);
        let published = [
            rig.publish("a", "0"),
            rig.publish("b", "1"),
            rig.publish("a", "2"),
            rig.publish("b", "3"),
        ];
        check(&rig, &Start::Tail, published[3], &[]);
        check(&rig, &Start::Earliest, first, &["0", "2"]);
        check(&rig, &Start::Last(0), published[3], &[]);
        check(&rig, &Start::Last(1), published[1], &["2"]);
        check(&rig, &Start::Last(2), first, &["0", "2"]);
        check(&rig, &Start::Last(usize::MAX), first, &["0", "2"]);
        check(&rig, &after(published[0]), published[0], &["2"]);
        check(&rig, &after(published[1]), published[1], &["2"]);
        check(&rig, &after(published[3]), published[3], &[]);
    }
}

#[test]
fn history_and_live_events_are_one_stream() {
    for format in FORMATS {
        let rig = Rig::keeping(1000);
        rig.count("a", 600);
        let mut listener = rig.listen_in(format, everything().from(Start::Earliest));
        listener.poll();
        rig.publish("a", "live");
        let received = listener.receive();
        assert_eq!(data(&received).last(), Some(&"live"));
        rig.publish("a", "later");
        assert_eq!(data(&listener.receive()), ["later"]);
    }
}

#[test]
fn events_between_subscribing_and_the_first_poll_are_delivered() {
    for format in FORMATS {
        let rig = Rig::keeping(1000);
        let mut listener = rig.listen_in(format, everything());
        rig.count("a", 3);
        let received = listener.receive();
        assert_eq!(received[0], Item::Position(rig.span().start));
        assert_eq!(data(&received), ["0", "1", "2"]);
    }
}

#[test]
fn the_position_of_a_hub_is_that_of_its_log() {
    let rig = Rig::roomy();
    assert_eq!(rig.hub.position(), rig.span().start);
    let published = rig.publish("a", "");
    assert_eq!((rig.hub.position(), rig.span().tail), (published, published));
}

#[test]
fn a_client_that_reconnects_soon_to_a_new_hub_is_served_from_memory() {
    let old = Rig::roomy();
    let published = old.count("a", 5);
    let hub = carafe_hub::Hub::new(old.log.clone());
    let again = Rig { hub, log: old.log };
    assert_eq!(again.hub.position(), published[4]);
    let received = again.listen(everything().from(after(published[1]))).receive();
    assert_eq!(data(&received), ["2", "3", "4"]);
    assert_eq!(again.log.reads(), 0);
}

#[test]
fn a_stream_on_a_quiet_topic_states_once_that_its_position_has_moved() {
    for format in [Format::Plain, Format::Enveloped] {
        let rig = Rig::roomy();
        let mut listener = rig.listen_in(Some(format), Subscribe::to(topic("quiet")));
        assert_eq!(listener.position_if_moved(), None, "it has yet to say where it begins");
        listener.receive();
        assert_eq!(listener.position_if_moved(), None);
        let published = rig.count("busy", 3);
        assert_eq!(listener.receive(), []);
        assert_eq!(listener.position_if_moved(), Some(Item::Position(published[2])));
        assert_eq!(listener.position_if_moved(), None);
        rig.publish("quiet", "event");
        listener.receive();
        assert_eq!(listener.position_if_moved(), None, "the event stated it");
    }
}

#[test]
fn a_position_from_a_quiet_topic_resumes_without_a_gap() {
    let rig = Rig::keeping(2);
    let mut listener = rig.listen_in(Some(Format::Plain), Subscribe::to(topic("quiet")));
    let begin = listener.receive()[0].position();
    rig.count("busy", 1);
    listener.receive();
    let idle = listener.position_if_moved().unwrap().position();
    rig.publish("busy", "another");
    rig.publish("quiet", "missed");
    let received = rig.listen(Subscribe::to(topic("quiet")).from(after(idle))).receive();
    assert_eq!((data(&received), &received[0]), (vec!["missed"], &Item::Position(idle)));
    let received = rig.listen(Subscribe::to(topic("quiet")).from(after(begin))).receive();
    assert_eq!(
        received[0],
        rig.gap(&begin, GapReason::Trimmed),
        "which the first position would not have"
    );
}

#[test]
fn a_private_event_that_is_skipped_moves_the_position() {
    let rig = Rig::roomy();
    let mut listener = rig.listen_in(Some(Format::Plain), Subscribe::to(topic("a")));
    listener.receive();
    let private = publish(&rig.hub, publication("a", "secret").with_private(true));
    assert_eq!(listener.receive(), []);
    assert_eq!(listener.position_if_moved(), Some(Item::Position(private)));
}

#[test]
fn an_id_beyond_the_tail_of_a_single_writer_is_a_gap_at_once_and_the_stream_continues() {
    for format in FORMATS {
        let rig = Rig::roomy();
        let tail = rig.count("a", 3)[2];
        for further in [1, 10, u64::MAX - tail.offset] {
            let lost = Position { offset: tail.offset + further, ..tail };
            let mut listener = rig.listen_in(format, everything().from(after(lost)));
            let now = rig.span().tail;
            assert_eq!(listener.receive(), [rig.lost(lost, now), Item::Position(now)]);
            rig.publish("a", "next");
            assert_eq!(data(&listener.receive()), ["next"]);
        }
    }
}
