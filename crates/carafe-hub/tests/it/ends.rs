//! Streams of topics that end, on every path.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use carafe_hub::{
    Access, Dispatcher, Encoder, Format, Grant, Hub, HubLimits, PublishError, Retention, Start,
    Subscribe, SubscriberId,
};
use carafe_log::{AppendError, Entry, MemoryLimits, MemoryLog, Outcome, Publication, TopicState};
use carafe_protocol::{Position, TopicMatcher, TopicPattern};
use futures_core::Stream;
use futures_util::FutureExt;

use crate::client::{Clients, Sent};
use crate::fixture::{
    EXTERNAL_IDS, FORMATS, Rig, after, at_once, data, exact, no_ring, pattern, publication,
    publish, subscribe, topic,
};
use crate::listener::{Item, Polled};
use crate::retention::HOUR;

/// Hubs that deliver from the ring, and from the log.
fn rigs() -> [Rig; 2] {
    [HubLimits::default(), no_ring()].map(|limits| Rig::new(MemoryLimits::default(), limits))
}

impl Rig {
    fn end(&self, name: &str) -> Position {
        publish(&self.hub, Publication::end(topic(name), Outcome::Done))
    }

    fn reopen(&self, name: &str) -> Position {
        publish(&self.hub, publication(name, "again").with_reopening(true))
    }
}

/// The types of the reports among the items, and of events their data.
fn told(items: &[Item]) -> Vec<&str> {
    items.iter().filter_map(told_by).collect()
}

fn told_by(item: &Item) -> Option<&str> {
    match item {
        Item::Event(fields) if fields.is_report() => fields.event_type.as_deref(),
        Item::Event(fields) => Some(&fields.data),
        Item::Position(_) | Item::Gap(_) => None,
    }
}

#[test]
fn a_stream_of_one_topic_ends_after_its_end_live_and_from_history() {
    for rig in rigs() {
        for format in FORMATS {
            let name = format!("jobs/{format:?}");
            let mut live = rig.listen_in(format, Subscribe::to(exact(&name)));
            let mut of_all = rig.listen_in(format, Subscribe::to(pattern("jobs/*")));
            let first = rig.publish(&name, "first");
            rig.publish(&name, "second");
            let end = rig.end(&name);
            let received = live.hear_to_the_end();
            assert_eq!(told(&received), ["first", "second", "carafe.end"]);
            assert_eq!(received.last().unwrap().position(), end);
            assert_eq!(live.poll(), Polled::Ended, "the end is repeated");
            let request = Subscribe::to(exact(&name)).from(after(first));
            let received = rig.listen_in(format, request).hear_to_the_end();
            assert_eq!(told(&received), ["second", "carafe.end"]);
            assert_eq!(told(&of_all.receive()), ["first", "second", "carafe.end"], "it goes on");
        }
    }
}

#[test]
fn a_late_client_is_told_of_the_end_and_one_that_knows_it_is_let_go() {
    for rig in rigs() {
        rig.publish("a", "first");
        let end = rig.end("a");
        let later = rig.publish("b", "later");
        for start in [Start::Tail, Start::Last(0), Start::AfterId("unknown".into())] {
            let received = rig.listen(Subscribe::to(exact("a")).from(start)).hear_to_the_end();
            assert_eq!(told(&received), ["carafe.end"]);
        }
        for position in [end, later] {
            let request = || Subscribe::to(exact("a")).from(after(position));
            assert!(subscribe(&rig.hub, request()).unwrap().is_over());
            assert_eq!(rig.listen(request()).hear_to_the_end(), [Item::Position(position)]);
        }
        let early = subscribe(&rig.hub, Subscribe::to(exact("a")).from(Start::Earliest));
        assert!(!early.unwrap().is_over());
    }
}

#[test]
fn a_stream_of_several_topics_ends_after_the_last_of_their_ends() {
    for rig in rigs() {
        let request = || Subscribe::to_all([exact("a"), exact("b")]);
        let mut live = rig.listen(request());
        let start = rig.span().tail;
        rig.end("a");
        assert_eq!(told(&live.receive()), ["carafe.end"]);
        rig.publish("b", "more");
        assert_eq!(told(&live.receive()), ["more"]);
        rig.end("b");
        assert_eq!(told(&live.hear_to_the_end()), ["carafe.end"]);
        let from = rig.listen(request().from(after(start))).hear_to_the_end();
        assert_eq!(told(&from), ["carafe.end", "more", "carafe.end"]);
    }
}

#[test]
fn a_late_client_of_several_topics_receives_their_ends_and_nothing_between_them() {
    for rig in rigs() {
        let first = rig.end("a");
        rig.count("b", 3);
        let last = rig.end("b");
        let tail = rig.publish("c", "of no interest");
        for (format, start) in FORMATS.into_iter().zip([Start::Tail, Start::Last(0), Start::Tail]) {
            let request = Subscribe::to_all([exact("a"), exact("b")]).from(start);
            let received = rig.listen_in(format, request).hear_to_the_end();
            assert_eq!(told(&received), ["carafe.end", "carafe.end"]);
            let positions: Vec<_> = received.iter().map(Item::position).collect();
            assert_eq!(positions, [first, last, tail]);
        }
        // Behind the gap, a client that is disconnected has none of the ends.
        let request = Subscribe::to_all([exact("a"), exact("b")]);
        let unknown = request.from(Start::AfterId("unknown".into()));
        let received = rig.listen(unknown).hear_to_the_end();
        assert!(matches!(&received[0], Item::Gap(gap) if gap.resume_after.offset < first.offset));
        assert_eq!(told(&received), ["carafe.end", "carafe.end"]);
        assert_eq!(received.len(), 4);
    }
}

#[test]
fn a_reopened_topic_goes_on_for_whoever_passes_its_old_end() {
    for rig in rigs() {
        let start = rig.span().tail;
        let mut slow = rig.listen(Subscribe::to(exact("a")));
        rig.publish("a", "first");
        rig.end("a");
        rig.reopen("a");
        assert_eq!(told(&slow.receive()), ["first", "carafe.end", "again"]);
        let mut late = rig.listen(Subscribe::to(exact("a")).from(after(start)));
        assert_eq!(told(&late.receive()), ["first", "carafe.end", "again"]);
        rig.end("a");
        assert_eq!(told(&slow.hear_to_the_end()), ["carafe.end"]);
        assert_eq!(told(&late.hear_to_the_end()), ["carafe.end"]);
    }
}

#[test]
fn who_may_not_see_a_private_end_waits_for_events() {
    for rig in rigs() {
        let of = |granted: &str| {
            let grant = Grant::to([exact(granted)]);
            Subscribe::to(exact("a")).with_access(Access::to(grant).with_public(true))
        };
        let (mut stranger, mut friend) = (rig.listen(of("other")), rig.listen(of("a")));
        publish(&rig.hub, Publication::end(topic("a"), Outcome::Done).with_private(true));
        assert_eq!(told(&stranger.receive()), [""; 0]);
        assert_eq!(told(&friend.hear_to_the_end()), ["carafe.end"]);
        assert_eq!(told(&rig.listen(of("other")).receive()), [""; 0]);
        assert_eq!(told(&rig.listen(of("a")).hear_to_the_end()), ["carafe.end"]);
    }
}

#[test]
fn an_end_is_not_the_newest_event() {
    let rig = Rig::roomy();
    let newest = || at_once(rig.hub.newest(&Access::all(), None)).unwrap();
    publish(&rig.hub, Publication::stop(topic("a")));
    rig.end("a");
    assert_eq!(newest(), None);
    let event = rig.publish("b", "event");
    rig.end("b");
    assert_eq!(newest().map(|entry| entry.position), Some(event));
}

#[test]
fn a_stop_reaches_the_producer_and_ends_nothing() {
    for rig in rigs() {
        let mut producer = rig.listen(Subscribe::to(exact("a")));
        let at = at_once(rig.hub.stop(topic("a"))).unwrap();
        assert!(at_once(rig.hub.stop(topic("a"))).unwrap().repeated);
        assert_eq!(told(&producer.receive()), ["carafe.stop"]);
        assert_eq!(rig.hub.topic_state(&topic("a")).stop, Some(at.position));
        let end = at_once(rig.hub.end(topic("a"), Outcome::Cancelled)).unwrap();
        let state = rig.hub.topic_state(&topic("a"));
        assert_eq!((state.stop, state.end.unwrap().position), (None, end.position));
        assert_eq!(told(&producer.hear_to_the_end()), ["carafe.end"]);
        let late = at_once(rig.hub.publish(publication("a", "late")));
        assert!(matches!(late, Err(PublishError::Append(AppendError::Ended { .. }))));
        assert_eq!(rig.hub.topic_state(&topic("b")), TopicState::default());
        assert_eq!(rig.hub.counts().published, 0, "neither is an event");
    }
}

#[test]
fn a_watch_is_woken_by_the_end_and_the_stop_of_its_topics_only() {
    let rig = Rig::roomy();
    let watch = rig.hub.watch([&topic("a"), &topic("b")]);
    let changed = || watch.changed().now_or_never().is_some();
    rig.publish("a", "event");
    rig.end("c");
    assert!(!changed());
    at_once(rig.hub.stop(topic("b"))).unwrap();
    assert!(changed() && !changed());
    rig.end("a");
    assert!(changed() && !changed());
}

#[test]
fn the_stream_of_an_adapter_that_knows_no_ends_goes_on() {
    static WITH_ENDS: Encoder = Encoder::new(
        |entry, block| entry.publication.event().encode_at(entry.position, block),
        |_, _| {},
        |_, _| {},
    )
    .with_life(|entry, block| {
        block.extend_from_slice(format!(": {}\n\n", entry.data()).as_bytes());
    });
    for rig in rigs() {
        for (encoder, ends) in [(&EXTERNAL_IDS, false), (&WITH_ENDS, true)] {
            let name = format!("a{ends}");
            let format = Format::custom(encoder);
            let frames = subscribe(&rig.hub, Subscribe::to(exact(&name))).unwrap();
            let mut frames = frames.into_frames(format);
            publish(&rig.hub, Publication::end(topic(&name), Outcome::Done).with_data("why"));
            let (mut sent, mut context) = (Vec::new(), Context::from_waker(Waker::noop()));
            let is_over = loop {
                match Pin::new(&mut frames).poll_next(&mut context) {
                    Poll::Ready(Some(block)) => sent.extend_from_slice(&block),
                    Poll::Ready(None) => break true,
                    Poll::Pending => break false,
                }
            };
            assert_eq!(is_over, ends);
            let sent = String::from_utf8(sent).unwrap();
            let expected = if ends { ": why\n\n" } else { ":\n" };
            assert!(sent.ends_with(expected), "{sent:?}");
        }
    }
}

/// Subscribers of one group, of which some take little.
struct Room {
    rig: Rig,
    dispatcher: Dispatcher,
    clients: Clients,
}

impl Room {
    fn new(rig: Rig) -> Self {
        let dispatcher = rig.hub.dispatcher(Waker::noop().clone());
        Self { rig, dispatcher, clients: Clients::default() }
    }

    fn join(&mut self, request: Subscribe, room: usize) -> SubscriberId {
        let frames = subscribe(&self.rig.hub, request).unwrap().into_frames(Format::Plain);
        let id = self.dispatcher.add(frames);
        self.clients.join(id, Format::Plain, room);
        id
    }

    fn serve(&mut self) {
        loop {
            self.dispatcher.collect_wakes();
            if !self.dispatcher.serve_next(&mut self.clients) {
                return;
            }
        }
    }

    fn gives_room(&mut self, id: SubscriberId) {
        self.clients.get_mut(id).room = usize::MAX;
        self.dispatcher.writable(id);
    }

    fn received(&mut self, id: SubscriberId) -> Vec<Sent> {
        self.clients.get_mut(id).take_received()
    }
}

/// The same of what a client received, and the end of its stream.
fn names(sent: &[Sent]) -> Vec<&str> {
    sent.iter()
        .filter_map(|sent| match sent {
            Sent::Item(item) => told_by(item),
            Sent::End => Some("end"),
            _ => None,
        })
        .collect()
}

#[test]
fn all_members_of_a_group_end_whatever_their_clients_take() {
    for rig in rigs() {
        let mut room = Room::new(rig);
        let ids: Vec<_> =
            (0..100).map(|_| room.join(Subscribe::to(exact("a")), usize::MAX)).collect();
        room.serve();
        let bystander = room.join(Subscribe::to(exact("b")), usize::MAX);
        for (number, id) in ids.iter().enumerate() {
            // Some take nothing, some a part of the next event, some a part of the end.
            room.clients.get_mut(*id).room = [usize::MAX, 0, 10, 90][number % 4];
        }
        room.rig.publish("a", "first");
        room.serve();
        room.rig.publish("a", "last");
        room.rig.end("a");
        room.serve();
        for id in ids.iter().skip(1).step_by(2).chain(ids.iter().skip(2).step_by(4)) {
            room.gives_room(*id);
        }
        room.serve();
        for id in &ids {
            let received = room.received(*id);
            assert_eq!(names(&received), ["first", "last", "carafe.end", "end"]);
        }
        assert_eq!((room.dispatcher.len(), room.clients.failed), (1, 0));
        assert_eq!(room.rig.hub.subscriptions(), 1);
        room.rig.publish("b", "goes on");
        room.serve();
        assert_eq!(names(&room.received(bystander)), ["goes on"]);
    }
}

#[test]
fn a_group_whose_topic_is_reopened_at_once_goes_on() {
    for rig in rigs() {
        let mut room = Room::new(rig);
        let ids: Vec<_> =
            (0..40).map(|_| room.join(Subscribe::to(exact("a")), usize::MAX)).collect();
        room.serve();
        room.rig.end("a");
        // The broadcast of the end has begun, and has reached some of them.
        room.dispatcher.collect_wakes();
        room.dispatcher.serve_next(&mut room.clients);
        room.rig.reopen("a");
        room.serve();
        room.rig.publish("a", "more");
        room.serve();
        for id in ids {
            assert_eq!(names(&room.received(id)), ["carafe.end", "again", "more"]);
        }
        assert_eq!(room.dispatcher.len(), 40);
    }
}

#[test]
fn a_group_of_several_topics_ends_with_the_last() {
    for rig in rigs() {
        let mut room = Room::new(rig);
        let request = || Subscribe::to_all([exact("a"), exact("b")]);
        let ids: Vec<_> = (0..40).map(|_| room.join(request(), usize::MAX)).collect();
        room.serve();
        room.rig.end("a");
        room.serve();
        room.rig.publish("b", "more");
        room.rig.end("b");
        room.serve();
        for id in ids {
            assert_eq!(names(&room.received(id)), ["carafe.end", "more", "carafe.end", "end"]);
        }
        assert!(room.dispatcher.is_empty());
    }
}

#[test]
fn a_group_of_a_pattern_outlives_every_end() {
    let mut room = Room::new(Rig::roomy());
    let id = room.join(Subscribe::to(TopicMatcher::any()), usize::MAX);
    room.serve();
    for number in 0..3 {
        room.rig.end(&number.to_string());
        room.serve();
    }
    assert_eq!(names(&room.received(id)), ["carafe.end"; 3]);
    assert_eq!(room.dispatcher.len(), 1);
}

#[test]
fn ends_are_told_although_events_expire() {
    let rule = Retention::new(TopicPattern::new("brief/*").unwrap(), HOUR);
    for limits in [HubLimits::default(), no_ring()] {
        let rig = Rig::new(MemoryLimits::default(), limits.with_retention(vec![rule.clone()]));
        rig.was_published(4, &["brief/a"], "over");
        let position = Position { offset: 2, nonce: 1, ..rig.span().tail };
        let time = SystemTime::now() - 3 * HOUR;
        let publication = Publication::end(topic("brief/a"), Outcome::Done);
        rig.supply([Entry { position, time, publication }]);
        let request = Subscribe::to(exact("brief/a")).from(Start::Earliest);
        assert_eq!(told(&rig.listen(request).hear_to_the_end()), ["carafe.end"]);
        assert_eq!(data(&rig.listen(Subscribe::to(exact("brief/b"))).receive()), [""; 0]);
    }
}

/// Under the lock, it is not known whether the topic has ended.
#[test]
fn a_group_receives_old_events_of_a_topic_that_has_not_ended() {
    let rule = Retention::new(TopicPattern::new("chat/*").unwrap(), HOUR).with_after_end(true);
    for limits in [HubLimits::default(), no_ring()] {
        let rig = Rig::new(MemoryLimits::default(), limits.with_retention(vec![rule.clone()]));
        let mut room = Room::new(rig);
        let id = room.join(Subscribe::to(exact("chat/a")), usize::MAX);
        room.serve();
        room.rig.was_published(3, &["chat/a"], "old");
        room.serve();
        room.rig.publish("chat/a", "new");
        room.serve();
        assert_eq!(names(&room.received(id)), ["old", "new"]);
    }
}

#[test]
fn a_stream_of_nothing_never_ends() {
    let hub = Hub::new(MemoryLog::default());
    assert!(!subscribe(&hub, Subscribe::to_all([])).unwrap().is_over());
}

#[test]
fn a_stream_that_is_opened_while_its_topic_ends_receives_the_end() {
    for rig in rigs() {
        let (hub, end) = (rig.hub.clone(), Publication::end(topic("a"), Outcome::Done));
        rig.log.after_state_of(topic("a"), move || {
            publish(&hub, end);
        });
        let mut listener = rig.listen(Subscribe::to(exact("a")));
        assert_eq!(told(&listener.hear_to_the_end()), ["carafe.end"]);
    }
}

#[test]
fn an_event_behind_the_ends_that_a_stream_begins_with_is_not_lost() {
    for rig in rigs() {
        rig.end("a");
        rig.end("b");
        let hub = rig.hub.clone();
        rig.log.after_state_of(topic("b"), move || {
            publish(&hub, publication("a", "again").with_reopening(true));
        });
        let mut listener = rig.listen(Subscribe::to_all([exact("a"), exact("b")]));
        assert_eq!(told(&listener.receive()).last(), Some(&"again"));
    }
}
