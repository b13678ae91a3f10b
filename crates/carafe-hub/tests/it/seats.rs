//! How a dispatcher serves its seats.

use std::sync::Arc;

use carafe_hub::{
    Dispatcher, Format, HubLimits, Retention, Start, Subscribe, SubscriberId, TableKey,
};
use carafe_log::MemoryLimits;
use carafe_protocol::TopicPattern;

use crate::client::{Bell, Clients, Told};
use crate::fixture::{NO_RING, Rig, after, exact, pattern, publication, publish, subscribe};
use crate::listener::Heard;
use crate::retention::HOUR;

/// A dispatcher and its driver.
struct Driver {
    rig: Rig,
    dispatcher: Dispatcher,
    bell: Arc<Bell>,
    clients: Clients,
}

impl Driver {
    fn on(rig: Rig) -> Self {
        let (bell, waker) = Bell::new();
        Self { dispatcher: rig.hub.dispatcher(waker), rig, bell, clients: Clients::default() }
    }

    fn roomy() -> Self {
        Self::on(Rig::roomy())
    }

    /// The ring holds about so many small events, and the log all.
    fn with_ring_of(events: usize) -> Self {
        let limits = HubLimits { ring_bytes: events * 400, ..HubLimits::default() };
        Self::on(Rig::new(MemoryLimits::default(), limits))
    }

    fn join(&mut self, request: Subscribe) -> SubscriberId {
        let frames = subscribe(&self.rig.hub, request).unwrap().into_frames(Format::Plain);
        let seat = self.dispatcher.add(frames);
        self.clients.join(seat, Format::Plain, usize::MAX);
        seat
    }

    /// So many who ask for a topic, and have been told where they stand.
    fn settled(&mut self, to: &str, count: usize) -> Vec<SubscriberId> {
        let seats: Vec<_> = (0..count).map(|_| self.join(Subscribe::to(exact(to)))).collect();
        self.settle();
        seats.iter().for_each(|seat| assert!(matches!(self.told(*seat)[..], [Told::Heard(_)])));
        seats
    }

    fn turn(&mut self) -> bool {
        self.dispatcher.serve_next(&mut self.clients)
    }

    fn settle(&mut self) {
        self.dispatcher.collect_wakes();
        while self.turn() {
            self.dispatcher.collect_wakes();
        }
    }

    fn limit(&mut self, seat: SubscriberId, room: usize) {
        self.clients.get_mut(seat).room = room;
    }

    fn give_room(&mut self, seat: SubscriberId, room: usize) {
        self.limit(seat, room);
        self.dispatcher.writable(seat);
    }

    fn leave(&mut self, seat: SubscriberId) {
        self.dispatcher.remove(seat);
        self.clients.leave(seat);
    }

    fn at(&mut self, now: u32) {
        self.clients.now = now;
        self.dispatcher.set_time(now);
    }

    fn beat(&mut self, seat: SubscriberId, silence: u32) -> Vec<Told> {
        self.dispatcher.send_heartbeat(seat, silence, &mut self.clients);
        self.told(seat)
    }

    fn told(&mut self, seat: SubscriberId) -> Vec<Told> {
        self.clients.get_mut(seat).take_told()
    }

    /// The events that a seat was told, and nothing else.
    #[track_caller]
    fn events(&mut self, seat: SubscriberId) -> Vec<String> {
        events(self.told(seat))
    }

    #[track_caller]
    fn check_all(&mut self, seats: &[SubscriberId], expected: &[&str]) {
        seats.iter().for_each(|seat| assert_eq!(self.events(*seat), expected, "seat {seat}"));
    }

    /// Those that have ended, each after these events.
    #[track_caller]
    fn check_ended(&mut self, seats: &[SubscriberId], expected: &[&str]) {
        let mut left = self.clients.take_left();
        left.sort_unstable();
        assert_eq!(left, seats);
        for seat in seats {
            let mut told = self.told(*seat);
            assert_eq!(told.pop(), Some(Told::End));
            assert_eq!(events(told), expected);
        }
    }
}

#[track_caller]
fn events(told: Vec<Told>) -> Vec<String> {
    let events = told.into_iter().map(|told| match told {
        Told::Heard(Heard::Event(said)) => said.data,
        other => panic!("{other:?}"),
    });
    events.collect()
}

/// Several slices of a pass.
const MANY: usize = 300;

#[test]
fn a_seat_that_joins_in_the_middle_of_a_pass_gets_nothing_twice_and_misses_nothing() {
    let mut driver = Driver::roomy();
    let old = driver.settled("a", MANY);
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
    assert_eq!((driver.told(waiting).len(), driver.told(early).len()), (1, 1), "each has settled");
    assert!(old.iter().any(|seat| driver.clients.get(*seat).is_untold()), "the pass is under way");
    driver.rig.publish("a", "2");
    driver.settle();
    driver.check_all(&old, &["0", "1", "2"]);
    driver.check_all(&[waiting], &["1", "2"]);
    driver.check_all(&[early], &["2"]);
}

/// A driver may say the opening itself, and give the rest a seat only when there is something to be
/// said.
#[test]
fn who_waits_for_a_seat_is_called_for_what_comes_and_misses_nothing() {
    for first in [false, true] {
        let mut driver = Driver::roomy();
        if !first {
            driver.settled("a", 1);
        }
        let (bell, waker) = Bell::new();
        let mut frames = subscribe(&driver.rig.hub, Subscribe::to(exact("a")))
            .unwrap()
            .into_frames(Format::Plain);
        assert!(!frames.wait(&waker), "the opening has yet to be said");
        assert!(!frames.opening().is_empty());
        assert!(frames.opening().is_empty(), "once");
        assert!(frames.wait(&waker));
        driver.rig.publish("b", "of no interest");
        assert_eq!(bell.take(), 0);
        driver.rig.publish("a", "0");
        driver.rig.publish("a", "1");
        assert_eq!(bell.take(), 1);
        assert!(!frames.wait(&waker), "there is something to be said");
        let seat = driver.dispatcher.add(frames);
        driver.clients.join(seat, Format::Plain, usize::MAX);
        driver.settle();
        driver.rig.publish("a", "2");
        driver.settle();
        driver.check_all(&[seat], &["0", "1", "2"]);
        assert_eq!(driver.rig.log.reads(), 0);
    }
}

#[test]
fn who_waits_for_a_seat_is_called_to_end() {
    let mut driver = Driver::roomy();
    let (bell, waker) = Bell::new();
    let mut frames =
        subscribe(&driver.rig.hub, Subscribe::to(exact("a"))).unwrap().into_frames(Format::Plain);
    frames.opening();
    assert!(frames.wait(&waker));
    assert_eq!(driver.rig.hub.drain().end(1), 1);
    assert_eq!(bell.take(), 1);
    assert!(!frames.wait(&waker));
    let seat = driver.dispatcher.add(frames);
    driver.clients.join(seat, Format::Plain, usize::MAX);
    driver.settle();
    driver.check_ended(&[seat], &[]);
}

#[test]
fn a_seat_that_was_ahead_of_its_group_has_waited_with_it_since() {
    for others in [0, 1] {
        let kept = MemoryLimits::default().with_entries(5);
        let mut driver =
            Driver::on(Rig::new(kept, HubLimits { ring_bytes: 1000, ..HubLimits::default() }));
        let old = driver.settled("a", 1);
        driver.rig.publish("a", "0");
        driver.rig.count("b", others);
        let early = driver.join(Subscribe::to(exact("a")));
        driver.turn();
        assert_eq!(driver.told(early).len(), 1, "it has settled before its group has what came");
        driver.settle();
        driver.rig.count("b", 10);
        driver.rig.publish("a", "1");
        driver.settle();
        driver.check_all(&[early], &["1"]);
        driver.check_all(&old, &["0", "1"]);
        assert_eq!(driver.rig.log.reads(), 0);
    }
}

#[test]
fn who_leaves_in_the_middle_of_a_pass_makes_nobody_be_skipped_or_served_twice() {
    let leaving: [fn(usize) -> bool; 5] =
        [|at| at < 250, |at| at >= 50, |at| at.is_multiple_of(2), |at| at == 0, |at| at != 7];
    for leaves in leaving {
        let mut driver = Driver::roomy();
        let seats = driver.settled("a", MANY);
        driver.rig.publish("a", "0");
        driver.dispatcher.collect_wakes();
        driver.turn();
        let (leaving, staying): (Vec<_>, Vec<_>) =
            seats.iter().partition(|seat| leaves(seat.index()));
        leaving.into_iter().for_each(|seat| driver.leave(seat));
        driver.settle();
        driver.check_all(&staying, &["0"]);
    }
}

#[test]
fn who_leaves_between_the_beginning_of_a_pass_and_its_first_slice_makes_nobody_be_skipped() {
    let mut driver = Driver::roomy();
    let (first, second) = (driver.settled("a", 1), driver.settled("b", 2));
    driver.rig.publish("a", "0");
    driver.rig.publish("b", "0");
    driver.dispatcher.collect_wakes();
    driver.turn();
    driver.check_all(&first, &["0"]);
    driver.leave(second[0]);
    driver.settle();
    driver.check_all(&second[1..], &["0"]);
}

#[test]
fn whose_client_is_found_to_be_gone_during_a_pass_makes_nobody_be_skipped_or_served_twice() {
    let mut driver = Driver::roomy();
    let seats = driver.settled("a", MANY);
    let (gone, staying): (Vec<_>, Vec<_>) = seats.iter().partition(|seat| seat.index() % 3 == 0);
    gone.iter().for_each(|seat| driver.clients.get_mut(*seat).is_gone = true);
    driver.rig.publish("a", "0");
    driver.settle();
    driver.check_all(&staying, &["0"]);
    assert_eq!(driver.clients.take_left().len(), gone.len());
    assert_eq!(driver.rig.hub.subscriptions(), staying.len());
}

#[test]
fn a_lagging_seat_catches_up_from_the_ring_and_is_served_with_its_group_again() {
    let mut driver = Driver::roomy();
    let seats = driver.settled("a", 3);
    driver.limit(seats[1], 10);
    driver.at(7);
    for n in ["0", "1", "2"] {
        driver.rig.publish("a", n);
        driver.settle();
    }
    driver.check_all(&[seats[0], seats[2]], &["0", "1", "2"]);
    assert_eq!(
        (driver.dispatcher.blocked_since(seats[1]), driver.dispatcher.blocked_since(seats[0])),
        (Some(7), None)
    );
    driver.check_all(&seats[1..2], &["0"]);
    driver.give_room(seats[1], usize::MAX);
    driver.settle();
    driver.check_all(&seats[1..2], &["1", "2"]);
    driver.rig.publish("a", "3");
    driver.dispatcher.collect_wakes();
    driver.turn();
    driver.check_all(&seats, &["3"]);
    assert_eq!(driver.rig.log.reads(), 0);
}

#[test]
fn a_seat_that_the_ring_has_left_reads_the_log_and_then_is_served_with_its_group_again() {
    let mut driver = Driver::with_ring_of(5);
    let seats = driver.settled("a", 2);
    driver.limit(seats[0], 0);
    for n in 0..100 {
        driver.rig.publish("a", &n.to_string());
        driver.settle();
    }
    let expected: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!((driver.events(seats[1]), driver.rig.log.reads()), (expected.clone(), 0));
    driver.give_room(seats[0], usize::MAX);
    driver.settle();
    assert_eq!(driver.events(seats[0]), expected);
    assert_ne!(driver.rig.log.reads(), 0);
    let reads = driver.rig.log.reads();
    driver.rig.publish("a", "live");
    driver.dispatcher.collect_wakes();
    driver.turn();
    driver.check_all(&seats, &["live"]);
    assert_eq!(driver.rig.log.reads(), reads);
}

#[test]
fn a_group_that_the_ring_has_left_reads_the_log() {
    let mut driver = Driver::with_ring_of(5);
    let seats = driver.settled("a", 3);
    driver.rig.count("a", 100);
    driver.settle();
    let expected: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    seats.iter().for_each(|seat| assert_eq!(driver.events(*seat), expected));
    assert_eq!(driver.rig.hub.subscriptions(), 3);
}

/// One complex pattern is all that there may be: a group that is left behind would keep others out.
fn with_one_complex_pattern() -> Driver {
    Driver::on(Rig::new(
        MemoryLimits::default(),
        HubLimits { complex_patterns: 1, ..HubLimits::default() },
    ))
}

#[test]
fn a_group_is_found_again_and_forgotten_with_its_last_seat() {
    let mut driver = with_one_complex_pattern();
    for name in ["a", "b", "c"] {
        let request = || Subscribe::to_all([pattern(&format!("{name}-:id")), exact("x")]);
        let seats = [driver.join(request()), driver.join(request())];
        driver.settle();
        driver.rig.publish(&format!("{name}-1"), "");
        driver.dispatcher.collect_wakes();
        driver.clients.served.clear();
        driver.turn();
        assert_eq!(driver.clients.served.len(), 2, "one group has both");
        seats.into_iter().for_each(|seat| driver.leave(seat));
        assert_eq!((driver.dispatcher.len(), driver.rig.hub.subscriptions()), (0, 0));
    }
}

#[test]
fn an_outlet_that_is_dropped_leaves_nothing_in_the_hub() {
    let Driver { rig, .. } = {
        let mut driver = with_one_complex_pattern();
        let request = || Subscribe::to(pattern("a-:id"));
        let lagging = [driver.join(request()), driver.join(request())][0];
        driver.settle();
        driver.limit(lagging, 0);
        driver.rig.publish("a-1", "");
        driver.settle();
        driver.rig.publish("a-1", "and a pass is under way");
        driver.dispatcher.collect_wakes();
        driver.join(request().from(Start::Earliest));
        let other = Driver::on(Rig { hub: driver.rig.hub.clone(), log: driver.rig.log.clone() });
        drop(driver);
        other
    };
    assert_eq!(rig.hub.subscriptions(), 0);
    rig.publish("a-1", "to nobody");
    assert!(subscribe(&rig.hub, Subscribe::to(pattern("b-:id"))).is_ok());
}

#[test]
fn while_a_pass_over_very_many_is_under_way_others_are_served_within_a_few_turns() {
    let mut driver = Driver::roomy();
    driver.settled("many", 10_000);
    let one = driver.settled("one", 1);
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
    assert_eq!(driver.told(own).len(), 1);
    driver.settle();
}

#[test]
fn the_bell_is_rung_once_per_look_however_much_comes() {
    let mut driver = Driver::roomy();
    for topic in ["a", "b", "c"] {
        driver.settled(topic, 3);
    }
    driver.bell.take();
    for _ in 0..3 {
        for topic in ["a", "b", "c", "nobody's"] {
            driver.rig.count(topic, 5);
        }
        assert_eq!(driver.bell.take(), 1);
        driver.settle();
    }
    driver.rig.publish("nobody's", "");
    assert_eq!(driver.bell.take(), 0);
}

#[test]
fn signs_of_life_go_on_when_the_clock_begins_anew() {
    let mut driver = Driver::roomy();
    driver.at(u32::MAX - 5);
    let seat = driver.settled("a", 1)[0];
    driver.at(3);
    assert_eq!(driver.beat(seat, 10), []);
    driver.at(12);
    assert_eq!(driver.beat(seat, 10), [Told::Heartbeat]);
    assert_eq!(driver.beat(seat, 10), []);
    driver.at(22);
    assert_eq!(driver.beat(seat, 10), [Told::Heartbeat]);
}

#[test]
fn signs_of_life_are_sent_after_silence_and_tell_the_position_if_it_has_moved() {
    let mut driver = Driver::roomy();
    let seat = driver.settled("a", 1)[0];
    driver.at(10);
    assert_eq!(driver.beat(seat, 11), []);
    assert_eq!(driver.beat(seat, 10), [Told::Heartbeat]);
    driver.at(15);
    let position = driver.rig.publish("b", "");
    assert_eq!(driver.beat(seat, 6), []);
    assert_eq!(driver.beat(seat, 5), [Told::Heard(Heard::Position(position))]);
    assert_eq!(driver.beat(seat, 0), [Told::Heartbeat], "it has not moved");
    driver.at(20);
    driver.rig.publish("a", "0");
    assert_eq!(driver.beat(seat, 0), [Told::Heartbeat], "it has not all up to there");
    driver.settle();
    assert_eq!((driver.events(seat), driver.beat(seat, 1)), (vec!["0".to_owned()], vec![]));
    assert_eq!(driver.beat(seat, 0), [Told::Heartbeat], "it was told by the event");
}

#[test]
fn what_the_first_seat_of_a_group_was_told_does_not_count_for_those_who_come_to_it() {
    let mut driver = Driver::on(Rig::keeping(100));
    let start = driver.rig.span().start;
    publish(&driver.rig.hub, publication("a", "not shown").with_private(true));
    let tail = *driver.rig.count("b", 2).last().unwrap();
    driver.rig.log.hold_reads();
    let slow = driver.join(Subscribe::to(exact("a")).from(after(start)));
    driver.settle();
    assert_eq!(driver.told(slow), [Told::Heard(Heard::Position(start))]);
    driver.at(10);
    driver.settled("a", 1);
    driver.rig.log.let_reads_go(100);
    driver.settle();
    assert_eq!(driver.beat(slow, 10), [Told::Heard(Heard::Position(tail))]);
}

#[test]
fn a_sign_of_life_that_is_taken_in_part_in_the_middle_of_a_pass_loses_nothing() {
    let mut driver = Driver::roomy();
    let seats = driver.settled("a", MANY);
    driver.rig.publish("a", "0");
    driver.dispatcher.collect_wakes();
    driver.turn();
    let unvisited: Vec<_> =
        seats.iter().copied().filter(|seat| driver.clients.get(*seat).is_untold()).collect();
    driver.rig.publish("b", "moves the tail, which is not told to who lacks something before it");
    for seat in &unvisited {
        driver.limit(*seat, 3);
        assert_eq!(driver.beat(*seat, 0), [Told::Heartbeat]);
    }
    driver.settle();
    assert!(!unvisited.is_empty());
    unvisited.iter().for_each(|seat| driver.give_room(*seat, usize::MAX));
    driver.rig.publish("a", "1");
    driver.settle();
    driver.check_all(&seats, &["0", "1"]);
}

/// What was published for others while the group waited is gone from the log, and nobody here was
/// owed it.
#[test]
fn a_seat_that_has_all_but_the_rest_of_a_chunk_waits_with_its_group_and_is_told_of_no_gap() {
    let begin: [fn(&mut Driver, SubscriberId); 2] = [
        |driver, seat| assert_eq!(driver.beat(seat, 0), [Told::Heartbeat]),
        |driver, seat| {
            driver.rig.publish("a", "in part");
            driver.settle();
            assert_eq!(driver.events(seat), ["in part"]);
        },
    ];
    for begin in begin {
        let mut driver = Driver::on(Rig::keeping(1));
        let seat = driver.settled("a", 1)[0];
        driver.limit(seat, 3);
        begin(&mut driver, seat);
        assert!(driver.dispatcher.blocked_since(seat).is_some());
        driver.rig.count("b", 3);
        driver.rig.publish("a", "live");
        driver.settle();
        driver.give_room(seat, usize::MAX);
        driver.settle();
        driver.check_all(&[seat], &["live"]);
    }
}

#[test]
fn a_seat_that_waits_with_its_group_for_the_rest_of_a_chunk_ends_without_a_gap() {
    let mut driver = Driver::on(Rig::keeping(1));
    let seat = driver.settled("a", 1)[0];
    driver.limit(seat, 3);
    assert_eq!(driver.beat(seat, 0), [Told::Heartbeat]);
    driver.rig.count("b", 3);
    driver.dispatcher.expire(seat);
    driver.give_room(seat, usize::MAX);
    driver.settle();
    assert_eq!(driver.told(seat), [Told::Expired(driver.rig.span().tail), Told::End]);
}

#[test]
fn a_seat_that_is_ahead_of_its_group_and_takes_a_sign_of_life_in_part_gets_nothing_twice() {
    let mut driver = Driver::roomy();
    let old = driver.settled("a", 1);
    driver.rig.publish("a", "0");
    let early = driver.join(Subscribe::to(exact("a")));
    driver.turn();
    assert_eq!(driver.told(early).len(), 1, "it has settled before its group has what came");
    driver.limit(early, 3);
    assert_eq!(driver.beat(early, 0), [Told::Heartbeat]);
    driver.give_room(early, usize::MAX);
    driver.turn();
    assert!(driver.dispatcher.blocked_since(early).is_none());
    driver.rig.publish("a", "1");
    driver.settle();
    driver.check_all(&old, &["0", "1"]);
    driver.check_all(&[early], &["1"]);
}

#[test]
fn who_has_to_go_on_alone_in_the_middle_of_a_pass_loses_nothing() {
    let mut driver = Driver::roomy();
    let seats = driver.settled("a", MANY);
    driver.rig.publish("a", "0");
    driver.dispatcher.collect_wakes();
    driver.turn();
    assert_eq!(driver.rig.hub.drain().end(MANY), MANY);
    driver.settle();
    driver.check_ended(&seats, &["0"]);
}

#[test]
fn a_stream_whose_time_is_over_ends_at_once_and_tells_from_where_to_go_on() {
    let mut driver = Driver::on(Rig::keeping(1000));
    let first = driver.rig.count("a", 2)[0];
    driver.rig.log.hold_reads();
    let seat = driver.join(Subscribe::to(exact("a")).from(after(first)));
    driver.dispatcher.expire(seat);
    driver.settle();
    let told = driver.told(seat);
    assert!(
        matches!(&told[..], [Told::Expired(position), Told::End] if *position == first),
        "{told:?}"
    );
}

#[test]
fn who_has_yet_to_be_sent_what_a_pass_takes_goes_on_before_it_when_its_time_is_over() {
    let mut driver = Driver::roomy();
    let seats = driver.settled("a", MANY);
    let before = driver.rig.span().tail;
    let event = driver.rig.publish("a", "0");
    driver.dispatcher.collect_wakes();
    driver.turn();
    seats.iter().for_each(|seat| driver.dispatcher.expire(*seat));
    driver.settle();
    let ends: Vec<_> = seats.iter().map(|seat| driver.told(*seat)).collect();
    let sent = ends.iter().filter(|told| {
        matches!(&told[..], [Told::Heard(Heard::Event(_)), Told::Expired(at), Told::End]
            if *at == event)
    });
    let unsent = ends
        .iter()
        .filter(|told| matches!(&told[..], [Told::Expired(at), Told::End] if *at == before));
    let (sent, unsent) = (sent.count(), unsent.count());
    assert!(sent > 0 && unsent > 0 && sent + unsent == MANY, "{sent} and {unsent}");
}

#[test]
fn streams_that_have_waited_since_history_was_trimmed_end_without_a_gap_and_without_the_log() {
    let mut driver = Driver::on(Rig::keeping(2));
    let seats = driver.settled("a", 3);
    driver.rig.count("b", 10);
    driver.dispatcher.expire(seats[0]);
    driver.settle();
    let tail = driver.rig.span().tail;
    assert_eq!(driver.told(seats[0]), [Told::Expired(tail), Told::End]);
    assert_eq!(driver.clients.take_left(), [seats[0]]);
    driver.rig.publish("a", "0");
    assert_eq!(driver.rig.hub.drain().end(2), 2);
    driver.settle();
    driver.check_ended(&seats[1..], &["0"]);
    assert_eq!(driver.rig.log.reads(), 0);
}

#[test]
fn seats_end_at_the_pace_at_which_the_drain_is_driven() {
    let mut driver = Driver::roomy();
    driver.settled("a", 4);
    driver.join(Subscribe::to(exact("a")));
    driver.bell.take();
    let drain = driver.rig.hub.drain();
    let mut ended = 0;
    for (count, more) in [(0, 0), (2, 2), (1, 1), (10, 2), (10, 0)] {
        assert_eq!(drain.end(count), more);
        ended += more;
        driver.settle();
        assert_eq!(
            (driver.dispatcher.len(), driver.rig.hub.subscriptions()),
            (5 - ended, 5 - ended)
        );
    }
}

#[test]
fn who_is_told_to_end_and_goes_on_alone_before_the_driver_looks_ends_all_the_same() {
    let mut driver = Driver::with_ring_of(1);
    let seats = driver.settled("a", 3);
    driver.rig.count("a", 50);
    driver.dispatcher.collect_wakes();
    assert_eq!(driver.rig.hub.drain().end(3), 3);
    driver.turn();
    driver.settle();
    let expected: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    driver.check_ended(&seats, &expected.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_stream_is_blocked_only_while_its_client_has_not_taken_all_and_since_then() {
    let mut driver = Driver::roomy();
    let lagging = driver.settled("a", 1)[0];
    driver.limit(lagging, 10);
    for _ in 0..40 {
        driver.rig.publish("a", &"large".repeat(5_000));
        driver.settle();
    }
    let replaying = driver.join(Subscribe::to(exact("a")).from(Start::Earliest));
    driver.give_room(lagging, usize::MAX);
    let mut turns = 0;
    while driver.turn() {
        turns += 1;
        for seat in [lagging, replaying] {
            assert_eq!(
                driver.dispatcher.blocked_since(seat),
                driver.clients.get(seat).blocked_since()
            );
        }
    }
    assert!(turns > 10, "much was to be caught up");
}

#[test]
fn a_stream_that_had_nothing_to_say_for_long_is_blocked_only_since_it_has() {
    let mut driver = Driver::on(Rig::keeping(100));
    driver.rig.count("a", 2);
    driver.rig.log.hold_reads();
    let seat = driver.join(Subscribe::to(exact("a")).from(Start::Earliest));
    driver.settle();
    driver.at(100);
    driver.limit(seat, 0);
    driver.rig.log.let_reads_go(100);
    driver.settle();
    assert_eq!(driver.dispatcher.blocked_since(seat), Some(100));
}

#[test]
fn a_stream_whose_history_cannot_be_read_ends_and_others_go_on() {
    let mut driver = Driver::with_ring_of(5);
    let other = driver.settled("a", 1)[0];
    driver.rig.count("a", 50);
    driver.settle();
    driver.rig.log.fail_next_read();
    let failing = driver.join(Subscribe::to(exact("a")).from(Start::Earliest));
    driver.settle();
    assert_eq!((driver.clients.take_left(), driver.clients.failed), (vec![failing], 1));
    driver.rig.publish("a", "50");
    driver.settle();
    assert_eq!((driver.events(other).len(), driver.rig.hub.subscriptions()), (51, 1));
}

#[test]
fn what_cannot_be_read_for_a_group_each_of_its_seats_tries_by_itself() {
    let mut driver = Driver::with_ring_of(5);
    let seats = driver.settled("a", 2);
    driver.rig.count("a", 50);
    driver.rig.log.fail_next_read();
    driver.settle();
    seats.iter().for_each(|seat| assert_eq!(driver.events(*seat).len(), 50));
    assert_eq!(driver.clients.failed, 0);
}

#[test]
fn for_a_group_that_the_ring_has_left_behind_the_log_is_read_once() {
    let mut driver = Driver::with_ring_of(5);
    let seats = driver.settled("a", 100);
    driver.rig.count("a", 50);
    driver.settle();
    seats.iter().for_each(|seat| assert_eq!(driver.events(*seat).len(), 50));
    assert!(driver.rig.log.reads() < 5, "{}", driver.rig.log.reads());
    driver.rig.publish("a", "and live again");
    driver.settle();
    seats.iter().for_each(|seat| assert_eq!(driver.events(*seat), ["and live again"]));
}

#[test]
fn whose_client_takes_nothing_keeps_no_turn_at_the_log_from_others() {
    let limits = HubLimits { replays: 1, ..NO_RING };
    let mut driver = Driver::on(Rig::new(MemoryLimits::default(), limits));
    let expected = ["0", "1", "2"];
    driver.rig.count("a", expected.len());
    driver.rig.log.hold_reads();
    let seats = [(); 3].map(|()| driver.join(Subscribe::to(exact("a")).from(Start::Earliest)));
    driver.settle();
    for seat in &seats[..2] {
        assert_eq!(driver.told(*seat).len(), 1, "one reads, and one waits for its turn");
        driver.limit(*seat, 1);
        assert_eq!(driver.beat(*seat, 0), [Told::Heartbeat]);
    }
    driver.rig.log.let_reads_go(100);
    driver.settle();
    assert_eq!(driver.told(seats[2]).len(), 1 + expected.len());
    seats[..2].iter().for_each(|seat| driver.give_room(*seat, usize::MAX));
    driver.settle();
    driver.check_all(&seats[..2], &expected);
}

#[test]
fn a_name_that_is_given_out_again_has_nothing_of_who_had_it() {
    let mut driver = Driver::roomy();
    let old = driver.settled("a", 2)[0];
    driver.limit(old, 3);
    driver.rig.publish("a", "old");
    driver.settle();
    driver.dispatcher.writable(old);
    driver.leave(old);
    let new = driver.join(Subscribe::to(exact("b")));
    assert_eq!(new, old);
    driver.rig.publish("a", "not asked for");
    driver.rig.publish("b", "new");
    driver.settle();
    assert!(matches!(&driver.told(new)[..], [Told::Heard(_), Told::Heard(Heard::Event(said))]
            if said.data == "new"));
}

#[test]
fn what_is_not_shown_any_more_is_a_gap_for_seats_that_have_settled_and_for_those_that_lag() {
    let rule = Retention { topics: TopicPattern::new("brief/*").unwrap(), age: HOUR };
    let limits = HubLimits { retention: vec![rule], ..HubLimits::default() };
    let mut driver = Driver::on(Rig::new(MemoryLimits::default(), limits));
    let seats: Vec<_> = (0..3).map(|_| driver.join(Subscribe::to(pattern("brief/*")))).collect();
    driver.settle();
    seats.iter().for_each(|seat| assert_eq!(driver.told(*seat).len(), 1));
    driver.limit(seats[0], 5);
    let shown = driver.rig.was_published(0, &["brief/a"], "shown");
    driver.settle();
    let over = driver.rig.was_published(2, &["brief/a"], "over");
    driver.rig.was_published(0, &["brief/a"], "shown too");
    driver.settle();
    driver.give_room(seats[0], usize::MAX);
    driver.settle();
    for seat in seats {
        let told = driver.told(seat);
        let [Told::Heard(first), Told::Heard(Heard::Gap(gap)), Told::Heard(last)] = &told[..]
        else {
            panic!("{told:?}");
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
fn a_group_and_a_seat_that_lags_pass_over_very_many_events_that_are_not_shown() {
    let mut driver = Driver::roomy();
    let seats = driver.settled("a", 2);
    driver.limit(seats[0], 1);
    let hide = |driver: &Driver| {
        for number in 0..600 {
            let hidden = publication("a", &number.to_string()).with_private(true);
            publish(&driver.rig.hub, hidden);
        }
    };
    driver.rig.publish("a", "0");
    driver.settle();
    hide(&driver);
    driver.rig.publish("a", "1");
    driver.settle();
    hide(&driver);
    driver.settle();
    driver.rig.publish("a", "2");
    driver.settle();
    driver.check_all(&seats[1..], &["0", "1", "2"]);
    driver.clients.get_mut(seats[0]).room = usize::MAX;
    driver.dispatcher.writable(seats[0]);
    driver.settle();
    driver.check_all(&seats[..1], &["0", "1", "2"]);
    assert_eq!(driver.rig.log.reads(), 0);
}
