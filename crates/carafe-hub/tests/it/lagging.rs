//! A hub that lags behind the readers of its log. The log on disk shows a commit to readers, and
//! then passes it on; the two may be milliseconds apart on a busy machine.

use std::task::Waker;

use carafe_hub::{Dispatcher, Format, Heartbeat, HubLimits, Start, Subscribe, SubscriberId, Tick};
use carafe_log::MemoryLimits;
use carafe_protocol::{Offset, Position, TopicMatcher};

use crate::client::{Clients, Sent};
use crate::fixture::{Rig, after, exact, subscribe};
use crate::listener::Item;
use crate::oracle::Random;

const TOPICS: [&str; 2] = ["a", "b"];

struct World {
    rig: Rig,
    dispatcher: Dispatcher,
    clients: Clients,
    readers: Vec<Reader>,
    /// Every event, with its topic.
    all: Vec<(Position, &'static str)>,
}

struct Reader {
    id: SubscriberId,
    /// `None` for all topics.
    topic: Option<&'static str>,
    /// The client resumes after this.
    seen: Option<Position>,
}

impl World {
    fn new(limits: HubLimits) -> Self {
        let rig = Rig::new(MemoryLimits::default(), limits);
        let dispatcher = rig.hub.dispatcher(Waker::noop().clone());
        Self { rig, dispatcher, clients: Clients::default(), readers: Vec::new(), all: Vec::new() }
    }

    fn publish(&mut self, topic: &'static str) {
        let position = self.rig.publish(topic, &self.all.len().to_string());
        self.all.push((position, topic));
    }

    fn join(&mut self, topic: Option<&'static str>, start: Start, heartbeat: Heartbeat) {
        let request = topic.map_or(TopicMatcher::any(), exact);
        let subscription = subscribe(&self.rig.hub, Subscribe::to(request).from(start)).unwrap();
        let frames = subscription.into_frames(Format::Plain).with_heartbeat(heartbeat);
        let id = self.dispatcher.add(frames);
        self.clients.join(id, Format::Plain, usize::MAX);
        self.readers.push(Reader { id, topic, seen: None });
    }

    fn leave(&mut self, at: usize) {
        let id = self.readers.swap_remove(at).id;
        self.dispatcher.remove(id);
        self.clients.leave(id);
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
        self.turns(usize::MAX);
        for reader in &self.readers {
            assert_eq!(reader.lacks(&self.all), None, "reader {}", reader.id);
        }
    }

    fn heartbeat(&mut self, at: usize, now: Tick) {
        self.clients.now = now;
        self.dispatcher.set_time(now);
        self.dispatcher.send_heartbeat(self.readers[at].id, 0, &mut self.clients);
        self.judge();
    }

    /// Each event comes once and in order, and a client that resumes after a position that it was
    /// sent misses nothing and receives nothing twice.
    fn judge(&mut self) {
        for (id, all) in self.clients.take_received() {
            let reader = self.readers.iter_mut().find(|reader| reader.id == id).unwrap();
            for received in all {
                match received {
                    Sent::Item(Item::Event(said)) => {
                        assert_eq!(Some(said.position), reader.lacks(&self.all), "reader {id}");
                        reader.seen = Some(said.position);
                    }
                    Sent::Item(Item::Position(position)) | Sent::HeartbeatEvent(position) => {
                        reader.hear(&self.all, position);
                    }
                    Sent::Heartbeat => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

impl Reader {
    fn hear(&mut self, all: &[(Position, &'static str)], position: Position) {
        if let Some(seen) = self.seen {
            let between = |from: Position, to: Position| {
                self.next(all, from.offset).filter(|next| next.offset <= to.offset)
            };
            assert_eq!(between(seen, position), None, "is lost if the client resumes now");
            assert_eq!(between(position, seen), None, "comes twice if the client resumes now");
        }
        self.seen = Some(position);
    }

    fn next(&self, all: &[(Position, &'static str)], after: Offset) -> Option<Position> {
        let is_next = |(position, topic): &&(Position, &'static str)| {
            position.offset > after && self.topic.is_none_or(|wanted| wanted == *topic)
        };
        all.iter().find(is_next).map(|(position, _)| *position)
    }

    /// What comes next, if it has received its position.
    fn lacks(&self, all: &[(Position, &'static str)]) -> Option<Position> {
        self.next(all, self.seen?.offset)
    }
}

fn heartbeats() -> [Heartbeat; 2] {
    [Heartbeat::comment(), Heartbeat::event()]
}

#[test]
fn a_client_that_resumes_ahead_of_its_group_receives_nothing_twice() {
    for heartbeat in heartbeats() {
        let mut world = World::new(HubLimits::default());
        world.join(None, Start::Tail, heartbeat);
        world.turns(usize::MAX);
        world.rig.log.hold_entries();
        (0..3).for_each(|_| world.publish("a"));
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
        let mut world = World::new(HubLimits::default().with_ring_bytes(0));
        world.join(None, Start::Tail, heartbeat);
        world.turns(usize::MAX);
        (0..3).for_each(|_| world.publish("a"));
        world.rig.log.hold_entries();
        (0..3).for_each(|_| world.publish("a"));
        world.turns(usize::MAX);
        world.join(None, Start::Tail, heartbeat);
        world.turns(usize::MAX);
        world.heartbeat(0, 1);
        world.heartbeat(1, 1);
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
    }
}

fn take_a_step(world: &mut World, random: &mut Random) {
    match random.below(12) {
        0..3 => (0..=random.below(6)).for_each(|_| world.publish(random.pick::<&str>(&TOPICS))),
        3 => world.rig.log.hold_entries(),
        4..6 => world.rig.log.let_entries_go(random.below(4)),
        6 => world.rig.log.hold_no_entries(),
        7..9 => {
            let topic = [None, Some(TOPICS[0])][random.below(2)];
            let near = world.all.len().saturating_sub(1 + random.below(5));
            let start = match random.below(4) {
                0 => Start::Tail,
                1 => Start::Earliest,
                _ => after(world.all[near].0),
            };
            world.join(topic, start, *random.pick(&heartbeats()));
        }
        9 if !world.readers.is_empty() => {
            let at = random.below(world.readers.len());
            if random.one_in(3) { world.leave(at) } else { world.heartbeat(at, 0) }
        }
        _ => world.turns(random.below(20)),
    }
}
