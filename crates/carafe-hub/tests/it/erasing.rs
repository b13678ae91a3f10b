//! Erased events: nobody receives them any more, and who misses them learns it.

use bytes::Bytes;
use carafe_hub::{
    Access, EraseOne, Format, Gap, GapReason, HubLimits, Sink, Start, Subscribe, SubscriberId,
    Written,
};
use carafe_log::{Kind, MemoryLimits, Removed};
use carafe_protocol::{Position, TopicMatcher};
use std::task::Waker;

use crate::fixture::{
    FORMATS, Rig, after, at_once, data, entry, exact, no_ring, publication, subscribe, topic,
};
use crate::listener::{Item, Polled};

/// Hubs that deliver from the ring, and from the log.
fn rigs() -> [Rig; 2] {
    [HubLimits::default(), no_ring()].map(|limits| Rig::new(MemoryLimits::default(), limits))
}

impl Rig {
    fn erase(&self, of: &str) -> Position {
        at_once(self.hub.erase(topic(of))).unwrap()
    }

    fn erased(&self, requested: Position, up_to: Position) -> Item {
        let gap = Gap::new(requested.to_string(), GapReason::Erased, up_to);
        Item::Gap(gap.with_oldest(self.span().oldest))
    }
}

fn everything() -> Subscribe {
    Subscribe::to(TopicMatcher::any())
}

#[test]
fn a_client_that_resumes_before_erased_events_receives_one_gap_and_then_the_rest() {
    for rig in rigs() {
        let start = rig.span().start;
        let erased = rig.count("a", 3);
        let kept = rig.publish("b", "kept");
        rig.erase("a");
        rig.publish("a", "new");
        for format in FORMATS {
            let received = rig.listen_in(format, everything().from(after(start))).receive();
            assert_eq!(received[..2], [Item::Position(start), rig.erased(start, erased[2])]);
            assert_eq!(data(&received), ["kept", "new"]);
            let within = everything().from(after(erased[1]));
            let received = rig.listen_in(format, within).receive();
            assert_eq!(received[1], rig.erased(erased[1], erased[2]), "positions stay valid");
            assert_eq!(data(&received), ["kept", "new"]);
            let received = rig.listen_in(format, everything().from(after(kept))).receive();
            assert_eq!((received.len(), data(&received)), (2, vec!["new"]), "nothing is missing");
        }
    }
}

#[test]
fn a_stream_from_history_has_no_gap_for_erased_events() {
    for rig in rigs() {
        rig.count("a", 3);
        rig.publish("b", "kept");
        rig.erase("a");
        for start in [Start::Earliest, Start::Last(1), Start::Last(9)] {
            let received = rig.listen(everything().from(start)).receive();
            assert!(matches!(received[0], Item::Position(_)));
            assert_eq!((received.len(), data(&received)), (2, vec!["kept"]));
        }
        let received = rig.listen(Subscribe::to(exact("a")).from(Start::Last(5))).receive();
        assert_eq!(received.len(), 1, "{received:?}");
    }
}

#[test]
fn a_subscriber_that_has_the_events_sees_nothing_of_their_erasure() {
    for rig in rigs() {
        let mut listener = rig.listen(Subscribe::to(exact("a")));
        rig.count("a", 2);
        assert_eq!(data(&listener.receive()), ["0", "1"]);
        rig.erase("a");
        rig.publish("a", "next");
        let received = listener.receive();
        assert_eq!((received.len(), data(&received)), (1, vec!["next"]));
    }
}

#[test]
fn a_subscriber_that_has_not_received_the_events_yet_receives_a_gap() {
    for rig in rigs() {
        let start = rig.span().start;
        let mut listener = rig.listen(Subscribe::to(exact("a")));
        let erased = rig.count("a", 2);
        rig.erase("a");
        let received = listener.receive();
        assert_eq!(received, [Item::Position(start), rig.erased(start, erased[1])]);
    }
}

#[test]
fn events_that_were_read_from_the_log_before_are_not_delivered_after_the_erasure() {
    let rig = Rig::new(MemoryLimits::default(), no_ring());
    let published = rig.count("a", 5);
    rig.publish("other", "what the ring holds");
    let start = rig.span().start;
    let mut listener = rig.listen(Subscribe::to(exact("a")).from(after(start)));
    let mut received = Vec::new();
    while data(&received).is_empty() {
        let Polled::Items(items) = listener.poll() else { panic!("{received:?}") };
        received.extend(items);
    }
    assert_eq!(data(&received), ["0"]);
    rig.erase("a");
    let rest = listener.receive();
    assert_eq!(rest, [rig.erased(published[0], published[4])]);
}

#[test]
fn private_events_that_were_erased_are_no_gap_for_those_who_may_not_see_them() {
    for rig in rigs() {
        let start = rig.span().start;
        at_once(rig.hub.publish(publication("a", "secret").with_private(true))).unwrap();
        rig.publish("a", "public");
        rig.erase("b");
        let private = Subscribe::to(exact("a")).with_access(Access::public());
        rig.erase("a");
        rig.publish("a", "new");
        let received = rig.listen(private.from(after(start))).receive();
        assert!(matches!(&received[1], Item::Gap(gap) if gap.reason == GapReason::Erased));
        assert_eq!(data(&received), ["new"]);
    }
    for rig in rigs() {
        let start = rig.span().start;
        at_once(rig.hub.publish(publication("a", "secret").with_private(true))).unwrap();
        rig.erase("a");
        rig.publish("a", "new");
        let private = Subscribe::to(exact("a")).with_access(Access::public());
        let received = rig.listen(private.from(after(start))).receive();
        assert_eq!((received.len(), data(&received)), (2, vec!["new"]));
    }
}

#[test]
fn one_event_is_erased_by_its_position_and_any_of_its_topics() {
    let rig = Rig::roomy();
    let of_two = publication("a", "of two").with_alternates([topic("b")]);
    let event = at_once(rig.hub.publish(of_two)).unwrap().position;
    let erase = |of, at| at_once(rig.hub.erase_one(&topic(of), at, None)).unwrap();
    assert_eq!(erase("c", event), EraseOne::NotFound);
    let other = Position { nonce: event.nonce ^ 1, ..event };
    assert_eq!(erase("b", other), EraseOne::NotFound);
    let EraseOne::Erased(erasure) = erase("b", event) else { panic!("it is an event of b") };
    assert_eq!(erase("a", event), EraseOne::ErasedBefore);
    assert_eq!(erase("a", erasure), EraseOne::NotFound, "an erasure is no event");
    assert!(data(&rig.listen(everything().from(Start::Earliest)).receive()).is_empty());
}

#[test]
fn a_reader_continues_after_an_erased_event_that_it_may_have_seen() {
    for rig in rigs() {
        let event = rig.publish("a", "open");
        let private = publication("a", "secret").with_private(true);
        let private = at_once(rig.hub.publish(private)).unwrap().position;
        let erasure = rig.erase("a");
        let find = |position: Position, access: Access| {
            at_once(rig.hub.find_id(&position.to_string(), &access, None)).unwrap()
        };
        assert_eq!(find(event, Access::public()), Some(event));
        assert_eq!(find(private, Access::public()), None);
        assert_eq!(find(private, Access::all()), Some(private));
        assert_eq!(find(erasure, Access::all()), None, "an erasure is no event");
        assert_eq!(at_once(rig.hub.newest(&Access::all(), None)), Ok(None));
    }
}

/// A client that takes a number of bytes, and remembers how its stream has ended.
#[derive(Default)]
struct Slow {
    room: usize,
    received: Vec<u8>,
    ended: Vec<bool>,
}

impl Sink for Slow {
    fn write(&mut self, _: SubscriberId, bytes: &[u8], _: u32) -> Written {
        let taken = bytes.len().min(self.room);
        self.room -= taken;
        self.received.extend_from_slice(&bytes[..taken]);
        Written::Bytes(taken)
    }

    fn ended(&mut self, _: SubscriberId, failed: bool) {
        self.ended.push(failed);
    }
}

/// A client has taken a part of an event that is erased then: the rest is never sent.
#[test]
fn the_rest_of_an_erased_event_is_not_sent_and_its_stream_ends() {
    for rig in rigs() {
        let mut dispatcher = rig.hub.dispatcher(Waker::noop().clone());
        let stream = subscribe(&rig.hub, Subscribe::to(exact("a"))).unwrap();
        let subscriber = dispatcher.add(stream.into_frames(Format::Plain));
        let mut client = Slow { room: usize::MAX, ..Slow::default() };
        while dispatcher.serve_next(&mut client) {}
        client.room = 20;
        rig.publish("a", "a secret that is longer than what the client takes");
        dispatcher.collect_wakes();
        while dispatcher.serve_next(&mut client) {}
        assert!(dispatcher.blocked_since(subscriber).is_some(), "it has taken a part");
        rig.erase("other");
        rig.erase("a");
        client.room = usize::MAX;
        dispatcher.writable(subscriber);
        while dispatcher.serve_next(&mut client) {}
        let received = String::from_utf8(Bytes::from(client.received).to_vec()).unwrap();
        assert!(!received.contains("client takes"), "{received}");
        assert_eq!((client.ended, dispatcher.len()), (vec![true], 0));
    }
}

#[test]
fn the_members_of_a_group_receive_a_gap_for_what_was_erased_before_their_turn() {
    let rig = Rig::roomy();
    let mut dispatcher = rig.hub.dispatcher(Waker::noop().clone());
    let mut client = Slow { room: usize::MAX, ..Slow::default() };
    for _ in 0..40 {
        let stream = subscribe(&rig.hub, Subscribe::to(exact("a"))).unwrap();
        dispatcher.add(stream.into_frames(Format::Plain));
        while dispatcher.serve_next(&mut client) {}
    }
    rig.publish("a", "a secret");
    dispatcher.collect_wakes();
    // The broadcast has reached some of them.
    assert!(dispatcher.serve_next(&mut client));
    let count =
        |client: &Slow, text: &str| String::from_utf8_lossy(&client.received).matches(text).count();
    let reached = count(&client, "a secret");
    assert!((1..40).contains(&reached), "{reached}");
    rig.erase("a");
    rig.publish("a", "new");
    dispatcher.collect_wakes();
    while dispatcher.serve_next(&mut client) {}
    assert_eq!(count(&client, "a secret"), reached);
    assert_eq!(count(&client, "\"reason\":\"erased\""), 40 - reached);
    assert_eq!((count(&client, "data: new"), dispatcher.len()), (40, 40));
}

#[test]
fn compacted_events_are_skipped_without_a_gap() {
    for rig in rigs() {
        let start = rig.span().start;
        let position = Position { offset: 1, nonce: 1, ..start };
        let removed = Kind::Removed(Removed::Compacted);
        rig.supply([entry(position, publication("a", "").with_kind(removed))]);
        let newest = rig.publish("a", "newest");
        for format in FORMATS {
            let received = rig.listen_in(format, everything().from(after(start))).receive();
            assert_eq!(received[0], Item::Position(start));
            assert_eq!((received.len(), data(&received)), (2, vec!["newest"]));
            assert_eq!(received[1].position(), newest);
        }
    }
}
