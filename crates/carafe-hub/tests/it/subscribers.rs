//! How a dispatcher serves its subscribers.

use std::sync::Arc;
use std::time::Duration;

use carafe_hub::{
    Dispatcher, Format, Heartbeat, HubLimits, Retention, Start, Subscribe, SubscriberId, TableKey,
};
use carafe_log::MemoryLimits;
use carafe_protocol::TopicPattern;

use crate::client::{Clients, Sent, WakeCounter};
use crate::fixture::{Rig, after, exact, no_ring, pattern, publication, publish, subscribe};
use crate::listener::Item;
use crate::retention::HOUR;

/// A dispatcher and its driver.
struct Driver {
    rig: Rig,
    dispatcher: Dispatcher,
    wakes: Arc<WakeCounter>,
    clients: Clients,
}

impl Driver {
    fn on(rig: Rig) -> Self {
        let (wakes, waker) = WakeCounter::new();
        Self { dispatcher: rig.hub.dispatcher(waker), rig, wakes, clients: Clients::default() }
    }

    fn roomy() -> Self {
        Self::on(Rig::roomy())
    }

    /// The ring holds about this many small events, and the log all.
    fn with_ring_of(events: usize) -> Self {
        let limits = HubLimits::default().with_ring_bytes(events * 400);
        Self::on(Rig::new(MemoryLimits::default(), limits))
    }

    fn join(&mut self, request: Subscribe) -> SubscriberId {
        self.join_with(request, Heartbeat::default())
    }

    fn join_with(&mut self, request: Subscribe, heartbeat: Heartbeat) -> SubscriberId {
        let frames = subscribe(&self.rig.hub, request).unwrap().into_frames(Format::Plain);
        let subscriber = self.dispatcher.add(frames.with_heartbeat(heartbeat));
        self.clients.join(subscriber, Format::Plain, usize::MAX);
        subscriber
    }

    /// Subscribers of a topic that have received their position.
    fn in_group(&mut self, to: &str, count: usize) -> Vec<SubscriberId> {
        let subscribers: Vec<_> = (0..count).map(|_| self.join(Subscribe::to(exact(to)))).collect();
        self.serve_all();
        subscribers.iter().for_each(|subscriber| {
            assert!(matches!(self.received(*subscriber)[..], [Sent::Item(_)]));
        });
        subscribers
    }

    fn turn(&mut self) -> bool {
        self.dispatcher.serve_next(&mut self.clients)
    }

    fn serve_all(&mut self) {
        self.dispatcher.collect_wakes();
        while self.turn() {
            self.dispatcher.collect_wakes();
        }
    }

    fn limit(&mut self, subscriber: SubscriberId, room: usize) {
        self.clients.get_mut(subscriber).room = room;
    }

    fn give_room(&mut self, subscriber: SubscriberId, room: usize) {
        self.limit(subscriber, room);
        self.dispatcher.writable(subscriber);
    }

    fn leave(&mut self, subscriber: SubscriberId) {
        self.dispatcher.remove(subscriber);
        self.clients.leave(subscriber);
    }

    fn at(&mut self, now: u32) {
        self.clients.now = now;
        self.dispatcher.set_time(now);
    }

    fn heartbeat(&mut self, subscriber: SubscriberId, silence: u32) -> Vec<Sent> {
        self.dispatcher.send_heartbeat(subscriber, silence, &mut self.clients);
        self.received(subscriber)
    }

    fn received(&mut self, subscriber: SubscriberId) -> Vec<Sent> {
        self.clients.get_mut(subscriber).take_received()
    }

    /// The events that a subscriber has received, and nothing else.
    #[track_caller]
    fn events(&mut self, subscriber: SubscriberId) -> Vec<String> {
        events(self.received(subscriber))
    }

    #[track_caller]
    fn check_all(&mut self, subscribers: &[SubscriberId], expected: &[&str]) {
        subscribers.iter().for_each(|subscriber| {
            assert_eq!(self.events(*subscriber), expected, "subscriber {subscriber}");
        });
    }

    /// All have ended, each after these events.
    #[track_caller]
    fn check_ended(&mut self, subscribers: &[SubscriberId], expected: &[&str]) {
        let mut left = self.clients.take_left();
        left.sort_unstable();
        assert_eq!(left, subscribers);
        for subscriber in subscribers {
            let mut received = self.received(*subscriber);
            assert_eq!(received.pop(), Some(Sent::End));
            assert_eq!(events(received), expected);
        }
    }
}

#[track_caller]
fn events(received: Vec<Sent>) -> Vec<String> {
    let events = received.into_iter().map(|received| match received {
        Sent::Item(Item::Event(said)) => said.data,
        other => panic!("{other:?}"),
    });
    events.collect()
}

/// More than one turn of a broadcast serves.
const MANY: usize = 300;

#[test]
fn a_subscriber_that_joins_during_a_broadcast_receives_everything_once() {
    let mut driver = Driver::roomy();
    let old = driver.in_group("a", MANY);
    driver.rig.publish("a", "0");
    driver.dispatcher.collect_wakes();
    driver.turn();
    let waiting = driver.join(Subscribe::to(exact("a")));
    driver.turn();
    driver.turn();
    driver.rig.publish("a", "1");
    let early = driver.join(Subscribe::to(exact("a")));
    driver.turn();
    driver.turn();
    assert_eq!(
        (driver.received(waiting).len(), driver.received(early).len()),
        (1, 1),
        "each has in_group"
    );
    assert!(
        old.iter().any(|subscriber| driver.clients.get(*subscriber).received_nothing()),
        "the pass is under path"
    );
    driver.rig.publish("a", "2");
    driver.serve_all();
    driver.check_all(&old, &["0", "1", "2"]);
    driver.check_all(&[waiting], &["1", "2"]);
    driver.check_all(&[early], &["2"]);
}

/// A driver may send the opening itself, and add the stream only when there is something to send.
#[test]
fn a_stream_that_waits_to_be_added_is_woken_by_an_event_and_misses_nothing() {
    for first in [false, true] {
        let mut driver = Driver::roomy();
        if !first {
            driver.in_group("a", 1);
        }
        let (wakes, waker) = WakeCounter::new();
        let mut frames = subscribe(&driver.rig.hub, Subscribe::to(exact("a")))
            .unwrap()
            .into_frames(Format::Plain);
        assert!(!frames.wait(&waker), "the opening has yet to be said");
        assert!(!frames.opening().is_empty());
        assert!(frames.opening().is_empty(), "once");
        assert!(frames.wait(&waker));
        driver.rig.publish("b", "of no interest");
        assert_eq!(wakes.take(), 0);
        driver.rig.publish("a", "0");
        driver.rig.publish("a", "1");
        assert_eq!(wakes.take(), 1);
        assert!(!frames.wait(&waker), "there is something to be said");
        let subscriber = driver.dispatcher.add(frames);
        driver.clients.join(subscriber, Format::Plain, usize::MAX);
        driver.serve_all();
        driver.rig.publish("a", "2");
        driver.serve_all();
        driver.check_all(&[subscriber], &["0", "1", "2"]);
        assert_eq!(driver.rig.log.reads(), 0);
    }
}

#[test]
fn a_stream_that_waits_to_be_added_is_woken_to_end() {
    let mut driver = Driver::roomy();
    let (wakes, waker) = WakeCounter::new();
    let mut frames =
        subscribe(&driver.rig.hub, Subscribe::to(exact("a"))).unwrap().into_frames(Format::Plain);
    frames.opening();
    assert!(frames.wait(&waker));
    assert_eq!(driver.rig.hub.drain().end(1), 1);
    assert_eq!(wakes.take(), 1);
    assert!(!frames.wait(&waker));
    let subscriber = driver.dispatcher.add(frames);
    driver.clients.join(subscriber, Format::Plain, usize::MAX);
    driver.serve_all();
    driver.check_ended(&[subscriber], &[]);
}

#[test]
fn a_member_that_was_ahead_of_its_group_has_waited_with_it_since() {
    for others in [0, 1] {
        let kept = MemoryLimits::default().with_entries(5);
        let mut driver = Driver::on(Rig::new(kept, HubLimits::default().with_ring_bytes(1000)));
        let old = driver.in_group("a", 1);
        driver.rig.publish("a", "0");
        driver.rig.count("b", others);
        let early = driver.join(Subscribe::to(exact("a")));
        driver.turn();
        assert_eq!(
            driver.received(early).len(),
            1,
            "it has in_group before its group has what came"
        );
        driver.serve_all();
        driver.rig.count("b", 10);
        driver.rig.publish("a", "1");
        driver.serve_all();
        driver.check_all(&[early], &["1"]);
        driver.check_all(&old, &["0", "1"]);
        assert_eq!(driver.rig.log.reads(), 0);
    }
}

#[test]
fn a_member_that_leaves_during_a_broadcast_makes_no_other_be_skipped_or_served_twice() {
    let leaving: [fn(usize) -> bool; 5] =
        [|at| at < 250, |at| at >= 50, |at| at.is_multiple_of(2), |at| at == 0, |at| at != 7];
    for leaves in leaving {
        let mut driver = Driver::roomy();
        let subscribers = driver.in_group("a", MANY);
        driver.rig.publish("a", "0");
        driver.dispatcher.collect_wakes();
        driver.turn();
        let (leaving, staying): (Vec<_>, Vec<_>) =
            subscribers.iter().partition(|subscriber| leaves(subscriber.index()));
        leaving.into_iter().for_each(|subscriber| driver.leave(subscriber));
        driver.serve_all();
        driver.check_all(&staying, &["0"]);
    }
}

#[test]
fn a_member_that_leaves_before_a_broadcast_reaches_anyone_makes_no_other_be_skipped() {
    let mut driver = Driver::roomy();
    let (first, second) = (driver.in_group("a", 1), driver.in_group("b", 2));
    driver.rig.publish("a", "0");
    driver.rig.publish("b", "0");
    driver.dispatcher.collect_wakes();
    driver.turn();
    driver.check_all(&first, &["0"]);
    driver.leave(second[0]);
    driver.serve_all();
    driver.check_all(&second[1..], &["0"]);
}

#[test]
fn a_client_that_disconnects_during_a_broadcast_makes_no_other_be_skipped_or_served_twice() {
    let mut driver = Driver::roomy();
    let subscribers = driver.in_group("a", MANY);
    let (gone, staying): (Vec<_>, Vec<_>) =
        subscribers.iter().partition(|subscriber| subscriber.index() % 3 == 0);
    gone.iter().for_each(|subscriber| driver.clients.get_mut(*subscriber).is_gone = true);
    driver.rig.publish("a", "0");
    driver.serve_all();
    driver.check_all(&staying, &["0"]);
    assert_eq!(driver.clients.take_left().len(), gone.len());
    assert_eq!(driver.rig.hub.subscriptions(), staying.len());
}

#[test]
fn a_member_that_fell_behind_catches_up_from_the_ring_and_is_served_with_its_group_again() {
    let mut driver = Driver::roomy();
    let subscribers = driver.in_group("a", 3);
    driver.limit(subscribers[1], 10);
    driver.at(7);
    for n in ["0", "1", "2"] {
        driver.rig.publish("a", n);
        driver.serve_all();
    }
    driver.check_all(&[subscribers[0], subscribers[2]], &["0", "1", "2"]);
    assert_eq!(
        (
            driver.dispatcher.blocked_since(subscribers[1]),
            driver.dispatcher.blocked_since(subscribers[0])
        ),
        (Some(7), None)
    );
    driver.check_all(&subscribers[1..2], &["0"]);
    driver.give_room(subscribers[1], usize::MAX);
    driver.serve_all();
    driver.check_all(&subscribers[1..2], &["1", "2"]);
    driver.rig.publish("a", "3");
    driver.dispatcher.collect_wakes();
    driver.turn();
    driver.check_all(&subscribers, &["3"]);
    assert_eq!(driver.rig.log.reads(), 0);
}

#[test]
fn a_member_behind_the_ring_reads_the_log_and_is_served_with_its_group_again() {
    let mut driver = Driver::with_ring_of(5);
    let subscribers = driver.in_group("a", 2);
    driver.limit(subscribers[0], 0);
    for n in 0..100 {
        driver.rig.publish("a", &n.to_string());
        driver.serve_all();
    }
    let expected: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!((driver.events(subscribers[1]), driver.rig.log.reads()), (expected.clone(), 0));
    driver.give_room(subscribers[0], usize::MAX);
    driver.serve_all();
    assert_eq!(driver.events(subscribers[0]), expected);
    assert_ne!(driver.rig.log.reads(), 0);
    let reads = driver.rig.log.reads();
    driver.rig.publish("a", "live");
    driver.dispatcher.collect_wakes();
    driver.turn();
    driver.check_all(&subscribers, &["live"]);
    assert_eq!(driver.rig.log.reads(), reads);
}

#[test]
fn a_group_behind_the_ring_reads_the_log() {
    let mut driver = Driver::with_ring_of(5);
    let subscribers = driver.in_group("a", 3);
    driver.rig.count("a", 100);
    driver.serve_all();
    let expected: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    subscribers.iter().for_each(|subscriber| assert_eq!(driver.events(*subscriber), expected));
    assert_eq!(driver.rig.hub.subscriptions(), 3);
}

/// Only one complex pattern is allowed: a group that is left over would keep others out.
fn with_one_complex_pattern() -> Driver {
    Driver::on(Rig::new(MemoryLimits::default(), HubLimits::default().with_complex_patterns(1)))
}

#[test]
fn a_group_is_found_again_and_removed_with_its_last_member() {
    let mut driver = with_one_complex_pattern();
    for name in ["a", "b", "c"] {
        let request = || Subscribe::to_all([pattern(&format!("{name}-:id")), exact("x")]);
        let subscribers = [driver.join(request()), driver.join(request())];
        driver.serve_all();
        driver.rig.publish(&format!("{name}-1"), "");
        driver.dispatcher.collect_wakes();
        driver.clients.served.clear();
        driver.turn();
        assert_eq!(driver.clients.served.len(), 2, "one group has both");
        subscribers.into_iter().for_each(|subscriber| driver.leave(subscriber));
        assert_eq!((driver.dispatcher.len(), driver.rig.hub.subscriptions()), (0, 0));
    }
}

#[test]
fn a_dropped_dispatcher_leaves_nothing_in_the_hub() {
    let Driver { rig, .. } = {
        let mut driver = with_one_complex_pattern();
        let request = || Subscribe::to(pattern("a-:id"));
        let lagging = [driver.join(request()), driver.join(request())][0];
        driver.serve_all();
        driver.limit(lagging, 0);
        driver.rig.publish("a-1", "");
        driver.serve_all();
        driver.rig.publish("a-1", "and a pass is under path");
        driver.dispatcher.collect_wakes();
        driver.join(request().from(Start::Earliest));
        let other = Driver::on(Rig { hub: driver.rig.hub.clone(), log: driver.rig.log.clone() });
        drop(driver);
        other
    };
    assert_eq!(rig.hub.subscriptions(), 0);
    rig.publish("a-1", "without a subscriber");
    assert!(subscribe(&rig.hub, Subscribe::to(pattern("b-:id"))).is_ok());
}

#[test]
fn during_a_broadcast_to_very_many_others_are_served_within_a_few_turns() {
    let mut driver = Driver::roomy();
    driver.in_group("many", 10_000);
    let one = driver.in_group("one", 1);
    driver.rig.publish("many", "0");
    driver.dispatcher.collect_wakes();
    driver.turn();
    driver.rig.publish("one", "0");
    driver.dispatcher.collect_wakes();
    let own = driver.join(Subscribe::to(exact("own")));
    driver.clients.served.clear();
    (0..4).for_each(|_| assert!(driver.turn()));
    assert!(driver.clients.served.len() < 200, "each turn is short");
    driver.check_all(&one, &["0"]);
    assert_eq!(driver.received(own).len(), 1);
    driver.serve_all();
}

#[test]
fn the_waker_is_called_once_until_the_dispatcher_collects() {
    let mut driver = Driver::roomy();
    for topic in ["a", "b", "c"] {
        driver.in_group(topic, 3);
    }
    driver.wakes.take();
    for _ in 0..3 {
        for topic in ["a", "b", "c", "unrequested"] {
            driver.rig.count(topic, 5);
        }
        assert_eq!(driver.wakes.take(), 1);
        driver.serve_all();
    }
    driver.rig.publish("unrequested", "");
    assert_eq!(driver.wakes.take(), 0);
}

#[test]
fn heartbeats_continue_when_the_clock_wraps_around() {
    let mut driver = Driver::roomy();
    driver.at(u32::MAX - 5);
    let subscriber = driver.in_group("a", 1)[0];
    driver.at(3);
    assert_eq!(driver.heartbeat(subscriber, 10), []);
    driver.at(12);
    assert_eq!(driver.heartbeat(subscriber, 10), [Sent::Heartbeat]);
    assert_eq!(driver.heartbeat(subscriber, 10), []);
    driver.at(22);
    assert_eq!(driver.heartbeat(subscriber, 10), [Sent::Heartbeat]);
}

#[test]
fn heartbeats_are_sent_after_silence_and_state_the_position_if_it_has_moved() {
    let mut driver = Driver::roomy();
    let subscriber = driver.in_group("a", 1)[0];
    driver.at(10);
    assert_eq!(driver.heartbeat(subscriber, 11), []);
    assert_eq!(driver.heartbeat(subscriber, 10), [Sent::Heartbeat]);
    driver.at(15);
    let position = driver.rig.publish("b", "");
    assert_eq!(driver.heartbeat(subscriber, 6), []);
    assert_eq!(driver.heartbeat(subscriber, 5), [Sent::Item(Item::Position(position))]);
    assert_eq!(driver.heartbeat(subscriber, 0), [Sent::Heartbeat], "it has not moved");
    driver.at(20);
    driver.rig.publish("a", "0");
    assert_eq!(
        driver.heartbeat(subscriber, 0),
        [Sent::Heartbeat],
        "it lacks an event before the tail"
    );
    driver.serve_all();
    assert_eq!(
        (driver.events(subscriber), driver.heartbeat(subscriber, 1)),
        (vec!["0".to_owned()], vec![])
    );
    assert_eq!(driver.heartbeat(subscriber, 0), [Sent::Heartbeat], "it was received by the event");
}

#[test]
fn a_client_that_wants_events_is_sent_its_position_as_an_event_after_each_silence() {
    let mut driver = Driver::roomy();
    let start = driver.rig.span().start;
    let subscriber = driver.join_with(Subscribe::to(exact("a")), Heartbeat::event());
    driver.serve_all();
    assert_eq!(driver.received(subscriber), [Sent::Item(Item::Position(start))]);
    driver.at(10);
    assert_eq!(driver.heartbeat(subscriber, 11), []);
    assert_eq!(driver.heartbeat(subscriber, 10), [Sent::HeartbeatEvent(start)]);
    let position = driver.rig.publish("b", "");
    for _ in 0..2 {
        assert_eq!(driver.heartbeat(subscriber, 0), [Sent::HeartbeatEvent(position)]);
    }
    driver.rig.publish("a", "0");
    let lacks_one = driver.heartbeat(subscriber, 0);
    assert!(
        matches!(lacks_one[..], [Sent::HeartbeatEvent(stated)] if stated.offset <= position.offset),
        "{lacks_one:?}: a client that resumes there must receive the event that it lacks"
    );
    driver.serve_all();
    assert_eq!(driver.events(subscriber), ["0"]);
}

#[test]
fn a_client_that_replays_is_sent_the_position_that_it_has_reached_as_a_heartbeat_event() {
    let mut driver = Driver::on(Rig::keeping(100));
    let start = driver.rig.span().start;
    driver.rig.publish("a", "0");
    driver.rig.count("b", 300);
    driver.rig.log.hold_reads();
    let request = Subscribe::to(exact("a")).from(after(start));
    let subscriber = driver.join_with(request, Heartbeat::event());
    driver.serve_all();
    let opening = driver.received(subscriber);
    let [.., Sent::Item(Item::Position(stated))] = opening[..] else { panic!("{opening:?}") };
    driver.at(10);
    assert_eq!(driver.heartbeat(subscriber, 10), [Sent::HeartbeatEvent(stated)]);
    driver.rig.log.let_reads_go(100);
}

#[test]
fn subscribers_with_different_heartbeats_receive_the_same_events_and_keep_their_intervals() {
    let mut driver = Driver::roomy();
    let seconds = |seconds| Heartbeat::comment().every(Duration::from_secs(seconds));
    let wanted = [Heartbeat::default(), seconds(4), seconds(20), Heartbeat::event()];
    let subscribers =
        wanted.map(|heartbeat| driver.join_with(Subscribe::to(exact("a")), heartbeat));
    driver.serve_all();
    subscribers.iter().for_each(|subscriber| drop(driver.received(*subscriber)));
    driver.rig.publish("a", "0");
    driver.serve_all();
    driver.check_all(&subscribers, &["0"]);
    for (subscriber, heartbeat) in subscribers.into_iter().zip(wanted) {
        assert_eq!(driver.dispatcher.heartbeat_interval(subscriber), heartbeat.interval());
        driver.limit(subscriber, 3);
    }
    driver.rig.publish("a", "1");
    driver.serve_all();
    subscribers.iter().for_each(|subscriber| driver.give_room(*subscriber, usize::MAX));
    driver.serve_all();
    driver.check_all(&subscribers, &["1"]);
    for (subscriber, heartbeat) in subscribers.into_iter().zip(wanted) {
        assert_eq!(driver.dispatcher.heartbeat_interval(subscriber), heartbeat.interval());
    }
}

#[test]
fn the_position_that_the_first_member_was_sent_does_not_count_for_later_members() {
    let mut driver = Driver::on(Rig::keeping(100));
    let start = driver.rig.span().start;
    publish(&driver.rig.hub, publication("a", "not shown").with_private(true));
    let tail = *driver.rig.count("b", 2).last().unwrap();
    driver.rig.log.hold_reads();
    let slow = driver.join(Subscribe::to(exact("a")).from(after(start)));
    driver.serve_all();
    assert_eq!(driver.received(slow), [Sent::Item(Item::Position(start))]);
    driver.at(10);
    driver.in_group("a", 1);
    driver.rig.log.let_reads_go(100);
    driver.serve_all();
    assert_eq!(driver.heartbeat(slow, 10), [Sent::Item(Item::Position(tail))]);
}

#[test]
fn a_heartbeat_that_is_partly_taken_during_a_broadcast_loses_nothing() {
    let mut driver = Driver::roomy();
    let subscribers = driver.in_group("a", MANY);
    driver.rig.publish("a", "0");
    driver.dispatcher.collect_wakes();
    driver.turn();
    let unvisited: Vec<_> = subscribers
        .iter()
        .copied()
        .filter(|subscriber| driver.clients.get(*subscriber).received_nothing())
        .collect();
    driver.rig.publish("b", "moves the tail beyond an event that some lack");
    for subscriber in &unvisited {
        driver.limit(*subscriber, 3);
        assert_eq!(driver.heartbeat(*subscriber, 0), [Sent::Heartbeat]);
    }
    driver.serve_all();
    assert!(!unvisited.is_empty());
    unvisited.iter().for_each(|subscriber| driver.give_room(*subscriber, usize::MAX));
    driver.rig.publish("a", "1");
    driver.serve_all();
    driver.check_all(&subscribers, &["0", "1"]);
}

/// Events for others that were published while the group waited are trimmed. No member misses them.
#[test]
fn a_member_that_lacks_only_the_rest_of_a_chunk_waits_with_its_group_and_receives_no_gap() {
    let begin: [fn(&mut Driver, SubscriberId); 2] = [
        |driver, subscriber| assert_eq!(driver.heartbeat(subscriber, 0), [Sent::Heartbeat]),
        |driver, subscriber| {
            driver.rig.publish("a", "in part");
            driver.serve_all();
            assert_eq!(driver.events(subscriber), ["in part"]);
        },
    ];
    for begin in begin {
        let mut driver = Driver::on(Rig::keeping(1));
        let subscriber = driver.in_group("a", 1)[0];
        driver.limit(subscriber, 3);
        begin(&mut driver, subscriber);
        assert!(driver.dispatcher.blocked_since(subscriber).is_some());
        driver.rig.count("b", 3);
        driver.rig.publish("a", "live");
        driver.serve_all();
        driver.give_room(subscriber, usize::MAX);
        driver.serve_all();
        driver.check_all(&[subscriber], &["live"]);
    }
}

#[test]
fn a_member_that_waits_with_its_group_for_the_rest_of_a_chunk_ends_without_a_gap() {
    let mut driver = Driver::on(Rig::keeping(1));
    let subscriber = driver.in_group("a", 1)[0];
    driver.limit(subscriber, 3);
    assert_eq!(driver.heartbeat(subscriber, 0), [Sent::Heartbeat]);
    driver.rig.count("b", 3);
    driver.dispatcher.expire(subscriber);
    driver.give_room(subscriber, usize::MAX);
    driver.serve_all();
    assert_eq!(driver.received(subscriber), [Sent::Expired(driver.rig.span().tail), Sent::End]);
}

#[test]
fn a_member_ahead_of_its_group_that_partly_takes_a_heartbeat_receives_nothing_twice() {
    let mut driver = Driver::roomy();
    let old = driver.in_group("a", 1);
    driver.rig.publish("a", "0");
    let early = driver.join(Subscribe::to(exact("a")));
    driver.turn();
    assert_eq!(driver.received(early).len(), 1, "it has in_group before its group has what came");
    driver.limit(early, 3);
    assert_eq!(driver.heartbeat(early, 0), [Sent::Heartbeat]);
    driver.give_room(early, usize::MAX);
    driver.turn();
    assert!(driver.dispatcher.blocked_since(early).is_none());
    driver.rig.publish("a", "1");
    driver.serve_all();
    driver.check_all(&old, &["0", "1"]);
    driver.check_all(&[early], &["1"]);
}

#[test]
fn a_member_that_has_to_leave_its_group_during_a_broadcast_loses_nothing() {
    let mut driver = Driver::roomy();
    let subscribers = driver.in_group("a", MANY);
    driver.rig.publish("a", "0");
    driver.dispatcher.collect_wakes();
    driver.turn();
    assert_eq!(driver.rig.hub.drain().end(MANY), MANY);
    driver.serve_all();
    driver.check_ended(&subscribers, &["0"]);
}

#[test]
fn an_expired_stream_ends_at_once_and_states_where_to_resume() {
    let mut driver = Driver::on(Rig::keeping(1000));
    let first = driver.rig.count("a", 2)[0];
    driver.rig.log.hold_reads();
    let subscriber = driver.join(Subscribe::to(exact("a")).from(after(first)));
    driver.dispatcher.expire(subscriber);
    driver.serve_all();
    let received = driver.received(subscriber);
    assert!(
        matches!(&received[..], [Sent::Expired(position), Sent::End] if *position == first),
        "{received:?}"
    );
}

#[test]
fn a_member_that_expires_before_a_broadcast_reaches_it_resumes_before_the_broadcast() {
    let mut driver = Driver::roomy();
    let subscribers = driver.in_group("a", MANY);
    let before = driver.rig.span().tail;
    let event = driver.rig.publish("a", "0");
    driver.dispatcher.collect_wakes();
    driver.turn();
    subscribers.iter().for_each(|subscriber| driver.dispatcher.expire(*subscriber));
    driver.serve_all();
    let ends: Vec<_> = subscribers.iter().map(|subscriber| driver.received(*subscriber)).collect();
    let sent = ends.iter().filter(|received| {
        matches!(&received[..], [Sent::Item(Item::Event(_)), Sent::Expired(at), Sent::End]
            if *at == event)
    });
    let unsent = ends.iter().filter(
        |received| matches!(&received[..], [Sent::Expired(at), Sent::End] if *at == before),
    );
    let (sent, unsent) = (sent.count(), unsent.count());
    assert!(sent > 0 && unsent > 0 && sent + unsent == MANY, "{sent} and {unsent}");
}

#[test]
fn streams_that_waited_while_history_was_trimmed_end_without_a_gap_and_without_reading_the_log() {
    let mut driver = Driver::on(Rig::keeping(2));
    let subscribers = driver.in_group("a", 3);
    driver.rig.count("b", 10);
    driver.dispatcher.expire(subscribers[0]);
    driver.serve_all();
    let tail = driver.rig.span().tail;
    assert_eq!(driver.received(subscribers[0]), [Sent::Expired(tail), Sent::End]);
    assert_eq!(driver.clients.take_left(), [subscribers[0]]);
    driver.rig.publish("a", "0");
    assert_eq!(driver.rig.hub.drain().end(2), 2);
    driver.serve_all();
    driver.check_ended(&subscribers[1..], &["0"]);
    assert_eq!(driver.rig.log.reads(), 0);
}

#[test]
fn subscribers_end_at_the_pace_at_which_the_drain_is_driven() {
    let mut driver = Driver::roomy();
    driver.in_group("a", 4);
    driver.join(Subscribe::to(exact("a")));
    driver.wakes.take();
    let drain = driver.rig.hub.drain();
    let mut ended = 0;
    for (count, more) in [(0, 0), (2, 2), (1, 1), (10, 2), (10, 0)] {
        assert_eq!(drain.end(count), more);
        ended += more;
        driver.serve_all();
        assert_eq!(
            (driver.dispatcher.len(), driver.rig.hub.subscriptions()),
            (5 - ended, 5 - ended)
        );
    }
}

#[test]
fn a_member_that_has_to_end_and_leaves_its_group_before_the_driver_collects_still_ends() {
    let mut driver = Driver::with_ring_of(1);
    let subscribers = driver.in_group("a", 3);
    driver.rig.count("a", 50);
    driver.dispatcher.collect_wakes();
    assert_eq!(driver.rig.hub.drain().end(3), 3);
    driver.turn();
    driver.serve_all();
    let expected: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    driver.check_ended(&subscribers, &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_stream_is_blocked_only_while_its_client_has_not_taken_everything() {
    let mut driver = Driver::roomy();
    let lagging = driver.in_group("a", 1)[0];
    driver.limit(lagging, 10);
    for _ in 0..40 {
        driver.rig.publish("a", &"large".repeat(5_000));
        driver.serve_all();
    }
    let replaying = driver.join(Subscribe::to(exact("a")).from(Start::Earliest));
    driver.give_room(lagging, usize::MAX);
    let mut turns = 0;
    while driver.turn() {
        turns += 1;
        for subscriber in [lagging, replaying] {
            assert_eq!(
                driver.dispatcher.blocked_since(subscriber),
                driver.clients.get(subscriber).blocked_since()
            );
        }
    }
    assert!(turns > 10, "much was to be caught up");
}

#[test]
fn a_stream_that_was_idle_for_long_is_blocked_only_since_it_has_something_to_send() {
    let mut driver = Driver::on(Rig::keeping(100));
    driver.rig.count("a", 2);
    driver.rig.log.hold_reads();
    let subscriber = driver.join(Subscribe::to(exact("a")).from(Start::Earliest));
    driver.serve_all();
    driver.at(100);
    driver.limit(subscriber, 0);
    driver.rig.log.let_reads_go(100);
    driver.serve_all();
    assert_eq!(driver.dispatcher.blocked_since(subscriber), Some(100));
}

#[test]
fn a_stream_whose_history_cannot_be_read_ends_and_others_continue() {
    let mut driver = Driver::with_ring_of(5);
    let other = driver.in_group("a", 1)[0];
    driver.rig.count("a", 50);
    driver.serve_all();
    driver.rig.log.fail_next_read();
    let failing = driver.join(Subscribe::to(exact("a")).from(Start::Earliest));
    driver.serve_all();
    assert_eq!((driver.clients.take_left(), driver.clients.failed), (vec![failing], 1));
    driver.rig.publish("a", "50");
    driver.serve_all();
    assert_eq!((driver.events(other).len(), driver.rig.hub.subscriptions()), (51, 1));
}

#[test]
fn when_a_group_cannot_read_the_log_each_member_tries_by_itself() {
    let mut driver = Driver::with_ring_of(5);
    let subscribers = driver.in_group("a", 2);
    driver.rig.count("a", 50);
    driver.rig.log.fail_next_read();
    driver.serve_all();
    subscribers.iter().for_each(|subscriber| assert_eq!(driver.events(*subscriber).len(), 50));
    assert_eq!(driver.clients.failed, 0);
}

#[test]
fn for_a_group_behind_the_ring_the_log_is_read_once() {
    let mut driver = Driver::with_ring_of(5);
    let subscribers = driver.in_group("a", 100);
    driver.rig.count("a", 50);
    driver.serve_all();
    subscribers.iter().for_each(|subscriber| assert_eq!(driver.events(*subscriber).len(), 50));
    assert!(driver.rig.log.reads() < 5, "{}", driver.rig.log.reads());
    driver.rig.publish("a", "and live again");
    driver.serve_all();
    subscribers
        .iter()
        .for_each(|subscriber| assert_eq!(driver.events(*subscriber), ["and live again"]));
}

#[test]
fn a_client_that_takes_nothing_holds_no_permit_to_read_the_log() {
    let limits = no_ring().with_replays(1);
    let mut driver = Driver::on(Rig::new(MemoryLimits::default(), limits));
    let expected = ["0", "1", "2"];
    driver.rig.count("a", expected.len());
    driver.rig.log.hold_reads();
    let subscribers =
        [(); 3].map(|()| driver.join(Subscribe::to(exact("a")).from(Start::Earliest)));
    driver.serve_all();
    for subscriber in &subscribers[..2] {
        assert_eq!(driver.received(*subscriber).len(), 1, "one reads, and one waits for its turn");
        driver.limit(*subscriber, 1);
        assert_eq!(driver.heartbeat(*subscriber, 0), [Sent::Heartbeat]);
    }
    driver.rig.log.let_reads_go(100);
    driver.serve_all();
    assert_eq!(driver.received(subscribers[2]).len(), 1 + expected.len());
    subscribers[..2].iter().for_each(|subscriber| driver.give_room(*subscriber, usize::MAX));
    driver.serve_all();
    driver.check_all(&subscribers[..2], &expected);
}

#[test]
fn a_reused_id_has_nothing_of_the_subscriber_before() {
    let mut driver = Driver::roomy();
    let old = driver.in_group("a", 2)[0];
    driver.limit(old, 3);
    driver.rig.publish("a", "old");
    driver.serve_all();
    driver.dispatcher.writable(old);
    driver.leave(old);
    let new = driver.join(Subscribe::to(exact("b")));
    assert_eq!(new, old);
    driver.rig.publish("a", "not asked for");
    driver.rig.publish("b", "new");
    driver.serve_all();
    assert!(matches!(&driver.received(new)[..], [Sent::Item(_), Sent::Item(Item::Event(said))]
            if said.data == "new"));
}

#[test]
fn an_event_that_is_no_longer_shown_is_a_gap_for_members_and_for_those_catching_up() {
    let rule = Retention::new(TopicPattern::new("brief/*").unwrap(), HOUR);
    let limits = HubLimits::default().with_retention(vec![rule]);
    let mut driver = Driver::on(Rig::new(MemoryLimits::default(), limits));
    let subscribers: Vec<_> =
        (0..3).map(|_| driver.join(Subscribe::to(pattern("brief/*")))).collect();
    driver.serve_all();
    subscribers.iter().for_each(|subscriber| assert_eq!(driver.received(*subscriber).len(), 1));
    driver.limit(subscribers[0], 5);
    let shown = driver.rig.was_published(0, &["brief/a"], "shown");
    driver.serve_all();
    let over = driver.rig.was_published(2, &["brief/a"], "over");
    driver.rig.was_published(0, &["brief/a"], "shown too");
    driver.serve_all();
    driver.give_room(subscribers[0], usize::MAX);
    driver.serve_all();
    for subscriber in subscribers {
        let received = driver.received(subscriber);
        let [Sent::Item(first), Sent::Item(Item::Gap(gap)), Sent::Item(last)] = &received[..]
        else {
            panic!("{received:?}");
        };
        assert_eq!((gap.requested.clone(), gap.resume_after), (shown.to_string(), over));
        assert!(first.position() == shown && last.position() == driver.rig.span().tail);
    }
    driver.rig.publish("brief/a", "live");
    driver.dispatcher.collect_wakes();
    driver.clients.served.clear();
    driver.turn();
    assert_eq!(driver.clients.served.len(), 3, "all are one group again");
}

#[test]
fn a_group_and_a_member_catching_up_skip_very_many_hidden_events() {
    let mut driver = Driver::roomy();
    let subscribers = driver.in_group("a", 2);
    driver.limit(subscribers[0], 1);
    let hide = |driver: &Driver| {
        for number in 0..600 {
            let hidden = publication("a", &number.to_string()).with_private(true);
            publish(&driver.rig.hub, hidden);
        }
    };
    driver.rig.publish("a", "0");
    driver.serve_all();
    hide(&driver);
    driver.rig.publish("a", "1");
    driver.serve_all();
    hide(&driver);
    driver.serve_all();
    driver.rig.publish("a", "2");
    driver.serve_all();
    driver.check_all(&subscribers[1..], &["0", "1", "2"]);
    driver.clients.get_mut(subscribers[0]).room = usize::MAX;
    driver.dispatcher.writable(subscribers[0]);
    driver.serve_all();
    driver.check_all(&subscribers[..1], &["0", "1", "2"]);
    assert_eq!(driver.rig.log.reads(), 0);
}
