//! A hub that lags behind the readers of its log. The log on disk shows a commit to readers, and
//! then passes it on; the two may be milliseconds apart on a busy machine.

use std::collections::HashMap;
use std::task::Waker;

use carafe_hub::{
    Dispatcher, Format, Heartbeat, HubLimits, OnGap, PageLimit, Start, Subscribe, SubscriberId,
    Tick,
};
use carafe_log::MemoryLimits;
use carafe_protocol::{Offset, Position, TopicMatcher};

use crate::client::{Clients, Sent};
use crate::fixture::{Rig, after, at_once, exact, subscribe, topic};
use crate::listener::{Item, Listener, Polled};
use crate::oracle::Random;

const TOPICS: [&str; 2] = ["a", "b"];

/// What a client takes, in bytes.
const ROOM: [usize; 4] = [usize::MAX, usize::MAX, 0, 150];

struct World {
    rig: Rig,
    dispatcher: Dispatcher,
    clients: Clients,
    readers: Vec<Reader>,
    /// Every event, with its topic.
    all: Vec<(Position, &'static str)>,
}

struct Reader {
    served: Served,
    /// `None` for all topics.
    topic: Option<&'static str>,
    /// The client resumes after this.
    seen: Option<Position>,
    /// What has come of the snapshot that the stream begins with.
    snapshot: Option<Vec<Position>>,
    has_ended: bool,
}

/// Who polls the subscription.
enum Served {
    Dispatcher(SubscriberId),
    Alone(Box<Listener>),
}

impl World {
    fn new(limits: HubLimits) -> Self {
        let rig = Rig::new(MemoryLimits::default(), limits);
        let dispatcher = rig.hub.dispatcher(Waker::noop().clone());
        Self { rig, dispatcher, clients: Clients::default(), readers: Vec::new(), all: Vec::new() }
    }

    /// With a reader of all topics, which is in its group.
    fn with_reader(limits: HubLimits, heartbeat: Heartbeat) -> Self {
        let mut world = Self::new(limits);
        world.add_reader(heartbeat);
        world
    }

    /// A reader of all topics begins at the tail, and joins its group if it can.
    fn add_reader(&mut self, heartbeat: Heartbeat) {
        self.join(None, Start::Tail, heartbeat);
        self.turns(usize::MAX);
    }

    fn publish_several(&mut self, count: usize, topic: &'static str) {
        (0..count).for_each(|_| self.publish(topic));
    }

    fn publish(&mut self, topic: &'static str) {
        let position = self.rig.publish(topic, &self.all.len().to_string());
        self.all.push((position, topic));
    }

    fn join(&mut self, topic: Option<&'static str>, start: Start, heartbeat: Heartbeat) {
        self.join_with_room(topic, start, heartbeat, usize::MAX);
    }

    fn join_with_room(
        &mut self,
        topic: Option<&'static str>,
        start: Start,
        heartbeat: Heartbeat,
        room: usize,
    ) {
        let is_snapshot = matches!(start, Start::Latest);
        let subscription = subscribe(&self.rig.hub, request(topic, start)).unwrap();
        let frames = subscription.into_frames(Format::Plain).with_heartbeat(heartbeat);
        let id = self.dispatcher.add(frames);
        self.clients.join(id, Format::Plain, room);
        self.readers.push(Reader::new(Served::Dispatcher(id), topic, is_snapshot));
    }

    fn join_alone(&mut self, topic: Option<&'static str>, start: Start, format: Option<Format>) {
        let is_snapshot = matches!(start, Start::Latest);
        let listener = Box::new(self.rig.listen_in(format, request(topic, start)));
        self.readers.push(Reader::new(Served::Alone(listener), topic, is_snapshot));
    }

    fn leave(&mut self, at: usize) {
        if let Served::Dispatcher(id) = self.readers.swap_remove(at).served {
            self.dispatcher.remove(id);
            self.clients.leave(id);
        }
    }

    fn give_room(&mut self, at: usize, room: usize) {
        if let Served::Dispatcher(id) = self.readers[at].served {
            self.clients.get_mut(id).room = room;
            self.dispatcher.writable(id);
        }
    }

    fn turns(&mut self, most: usize) {
        self.dispatcher.collect_wakes();
        for _ in 0..most {
            if !self.dispatcher.serve_next(&mut self.clients) {
                break;
            }
        }
        self.judge();
    }

    fn serve_all(&mut self) {
        self.rig.log.hold_no_entries();
        (0..self.readers.len()).for_each(|at| self.give_room(at, usize::MAX));
        self.turns(usize::MAX);
        for (at, reader) in self.readers.iter().enumerate() {
            assert!(reader.seen.is_some(), "reader {at}");
            assert_eq!(reader.lacks(&self.all), None, "reader {at}");
        }
    }

    /// Each stream ends, and has what the hub had by then.
    fn drain(&mut self) {
        self.rig.hub.drain().end(usize::MAX);
        self.turns(usize::MAX);
        let tail = self.rig.hub.position();
        for (at, reader) in self.readers.iter().enumerate() {
            assert!(reader.has_ended, "reader {at}");
            let lacks = reader.lacks(&self.all).filter(|next| next.offset <= tail.offset);
            assert_eq!(lacks, None, "reader {at}");
        }
    }

    fn heartbeat(&mut self, at: usize, now: Tick) {
        self.clients.now = now;
        self.dispatcher.set_time(now);
        if let Served::Dispatcher(id) = self.readers[at].served {
            self.dispatcher.send_heartbeat(id, 0, &mut self.clients);
        }
        self.judge();
    }

    /// A page has all events between its start and its end.
    fn read_page(&self, topic: Option<&'static str>, start: Position, events: usize) {
        let limit = PageLimit { events, ..PageLimit::default() };
        let page = at_once(self.rig.hub.page(request(topic, after(start)), limit)).unwrap();
        let mut seen = start.offset;
        for event in &page.events {
            assert_eq!(Some(event.position), next(&self.all, topic, seen));
            seen = event.offset();
        }
        let lacks = next(&self.all, topic, seen);
        assert!(lacks.is_none_or(|next| next.offset > page.next.offset), "{lacks:?} is left out");
        assert!(page.is_full || page.next.offset >= self.rig.hub.position().offset);
    }

    /// Each event comes once and in order, and a client that resumes after a position that it was
    /// sent misses nothing and receives nothing twice.
    fn judge(&mut self) {
        let mut received: HashMap<_, _> = self.clients.take_received().into_iter().collect();
        for reader in &mut self.readers {
            match &mut reader.served {
                Served::Dispatcher(id) => {
                    let all = received.remove(id).into_iter().flatten();
                    all.for_each(|sent| reader.receive(&self.all, sent));
                }
                Served::Alone(listener) => {
                    let (items, end) = listener.hear_out();
                    let has_ended = end == Polled::Ended;
                    items.into_iter().for_each(|item| reader.receive(&self.all, Sent::Item(item)));
                    reader.has_ended = has_ended;
                }
            }
        }
    }
}

fn request(topic: Option<&'static str>, start: Start) -> Subscribe {
    Subscribe::to(topic.map_or(TopicMatcher::any(), exact)).from(start)
}

impl Reader {
    fn new(served: Served, topic: Option<&'static str>, is_snapshot: bool) -> Self {
        let snapshot = is_snapshot.then(Vec::new);
        Self { served, topic, seen: None, snapshot, has_ended: false }
    }

    fn receive(&mut self, all: &[(Position, &'static str)], sent: Sent) {
        match sent {
            Sent::Item(Item::Event(said)) => match &mut self.snapshot {
                Some(snapshot) => snapshot.push(said.position),
                None => {
                    assert_eq!(Some(said.position), self.lacks(all));
                    self.seen = Some(said.position);
                }
            },
            Sent::Item(Item::Position(position)) | Sent::HeartbeatEvent(position) => {
                if let Some(snapshot) = self.snapshot.take() {
                    assert_eq!(snapshot, self.newest(all, position.offset));
                }
                self.hear(all, position);
            }
            Sent::Item(Item::Gap(gap)) => self.seen = Some(gap.resume_after),
            Sent::Heartbeat => {}
            Sent::End => self.has_ended = true,
            Sent::Expired(_) => panic!("{sent:?}"),
        }
    }

    fn hear(&mut self, all: &[(Position, &'static str)], position: Position) {
        if let Some(seen) = self.seen {
            let between = |from: Position, to: Position| {
                next(all, self.topic, from.offset).filter(|next| next.offset <= to.offset)
            };
            assert_eq!(between(seen, position), None, "is lost if the client resumes now");
            assert_eq!(between(position, seen), None, "comes twice if the client resumes now");
        }
        self.seen = Some(position);
    }

    /// The newest event of each topic.
    fn newest(&self, all: &[(Position, &'static str)], up_to: Offset) -> Vec<Position> {
        let newest_of = |name: &&str| {
            let is_it = |(position, topic): &&(Position, &'static str)| {
                position.offset <= up_to && topic == name
            };
            all.iter().rev().find(is_it).map(|(position, _)| *position)
        };
        let wanted = TOPICS.iter().filter(|name| wants(self.topic, name));
        let mut newest: Vec<_> = wanted.filter_map(newest_of).collect();
        newest.sort_unstable_by_key(|position| position.offset);
        newest
    }

    /// What comes next, if it has received its position.
    fn lacks(&self, all: &[(Position, &'static str)]) -> Option<Position> {
        next(all, self.topic, self.seen?.offset)
    }
}

fn wants(wanted: Option<&str>, topic: &str) -> bool {
    wanted.is_none_or(|wanted| wanted == topic)
}

/// The next event of a topic, or of any.
fn next(all: &[(Position, &'static str)], wanted: Option<&str>, after: Offset) -> Option<Position> {
    let is_next = |(position, topic): &&(Position, &'static str)| {
        position.offset > after && wants(wanted, topic)
    };
    all.iter().find(is_next).map(|(position, _)| *position)
}

fn heartbeats() -> [Heartbeat; 2] {
    [Heartbeat::comment(), Heartbeat::event()]
}

#[test]
fn a_client_that_resumes_ahead_of_its_group_receives_nothing_twice() {
    for heartbeat in heartbeats() {
        let mut world = World::with_reader(HubLimits::default(), heartbeat);
        world.rig.log.hold_entries();
        world.publish_several(3, "a");
        // It has received the events from another node, or their positions from a page.
        world.join(None, after(world.all[1].0), heartbeat);
        world.turns(usize::MAX);
        world.heartbeat(1, 1);
        for _ in 0..3 {
            world.rig.log.let_entries_go(1);
            world.turns(usize::MAX);
            world.heartbeat(1, 1);
        }
        world.publish("a");
        world.serve_all();
    }
}

#[test]
fn a_client_joins_a_group_that_has_read_the_log_to_its_end_and_misses_nothing() {
    for heartbeat in heartbeats() {
        // Nothing but the newest event is in the ring, so the group reads the log.
        let mut world = World::with_reader(HubLimits::default().with_ring_bytes(0), heartbeat);
        world.publish_several(3, "a");
        world.rig.log.hold_entries();
        world.publish_several(3, "a");
        world.turns(usize::MAX);
        world.add_reader(heartbeat);
        world.heartbeat(0, 1);
        world.heartbeat(1, 1);
        world.serve_all();
    }
}

#[test]
fn a_quiet_client_that_has_waited_ahead_of_the_ring_is_sent_its_position_again() {
    for heartbeat in heartbeats() {
        let mut world = World::new(HubLimits::default());
        world.publish("b");
        world.rig.log.hold_entries();
        world.publish_several(3, "a");
        world.join(Some("b"), after(world.all[2].0), heartbeat);
        world.turns(usize::MAX);
        world.rig.log.hold_no_entries();
        world.publish("a");
        world.turns(usize::MAX);
        world.heartbeat(0, 1);
        assert_eq!(world.readers[0].seen, Some(world.all[4].0));
        world.publish("b");
        world.serve_all();
    }
}

#[test]
fn a_client_that_goes_on_live_after_lost_events_receives_nothing_that_it_has() {
    let mut world = World::new(HubLimits::default());
    world.publish("a");
    world.rig.log.hold_entries();
    world.publish_several(2, "a");
    let (common, _) = world.all[2];
    // It has what another log had stored after the same events.
    let lost = Position { offset: 9, ..common };
    let mut client = world.rig.listen(request(None, after(lost)).on_gap(OnGap::Live));
    assert_eq!(client.receive().first().map(Item::position), Some(common));
    world.rig.log.hold_no_entries();
    let news = world.rig.publish("a", "news");
    assert_eq!(client.receive().iter().map(Item::position).collect::<Vec<_>>(), [news]);
}

#[test]
fn members_whose_events_are_erased_before_the_hub_knows_it_go_on() {
    for heartbeat in heartbeats() {
        let mut world = World::with_reader(HubLimits::default().with_ring_bytes(0), heartbeat);
        world.publish_several(2, "a");
        world.rig.log.hold_entries();
        at_once(world.rig.hub.erase(topic("a"))).unwrap();
        world.publish_several(2, "a");
        world.turns(usize::MAX);
        world.add_reader(heartbeat);
        (0..2).for_each(|at| world.heartbeat(at, 1));
        world.serve_all();
    }
}

#[test]
fn whatever_the_hub_lags_behind_each_reader_receives_each_event_once_and_in_order() {
    for seed in 0..100 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let ring = *random.pick(&[0, 2_000, 1 << 20]);
        let mut world = World::new(HubLimits::default().with_ring_bytes(ring));
        world.publish("a");
        for _ in 0..200 {
            take_a_step(&mut world, &mut random);
        }
        world.serve_all();
        world.rig.log.hold_entries();
        (0..5).for_each(|_| take_a_step(&mut world, &mut random));
        (0..world.readers.len()).for_each(|at| world.give_room(at, usize::MAX));
        world.drain();
    }
}

fn take_a_step(world: &mut World, random: &mut Random) {
    match random.below(16) {
        0..3 => (0..=random.below(6)).for_each(|_| world.publish(random.pick::<&str>(&TOPICS))),
        3 => world.rig.log.hold_entries(),
        4..6 => world.rig.log.let_entries_go(random.below(4)),
        6 => world.rig.log.hold_no_entries(),
        7..10 => join(world, random),
        10..12 if !world.readers.is_empty() => {
            let at = random.below(world.readers.len());
            match random.below(4) {
                0 => world.leave(at),
                1 => world.give_room(at, *random.pick(&ROOM)),
                _ => world.heartbeat(at, 0),
            }
        }
        12 => {
            let start = near_the_tail(world, random);
            world.read_page(a_topic(random), start, 1 + random.below(4));
        }
        _ => world.turns(random.below(20)),
    }
}

fn join(world: &mut World, random: &mut Random) {
    let topic = a_topic(random);
    let start = match random.below(6) {
        0 => Start::Tail,
        1 => Start::Earliest,
        2 => Start::Latest,
        _ => after(near_the_tail(world, random)),
    };
    if random.one_in(4) {
        return world.join_alone(topic, start, *random.pick(&[None, Some(Format::Plain)]));
    }
    world.join_with_room(topic, start, *random.pick(&heartbeats()), *random.pick(&ROOM));
}

fn a_topic(random: &mut Random) -> Option<&'static str> {
    [None, Some(TOPICS[0])][random.below(2)]
}

fn near_the_tail(world: &World, random: &mut Random) -> Position {
    world.all[world.all.len().saturating_sub(1 + random.below(5))].0
}
