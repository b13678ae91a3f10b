//! Random use of one dispatcher, against the model.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use carafe_hub::{Dispatcher, Drain, Format, HubLimits, SubscriberId, Tick};
use carafe_log::{Entry, MemoryLimits, Publication};
use carafe_protocol::Position;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::client::{Bell, Clients, Told};
use crate::fixture::{Rig, at_once, subscribe};
use crate::listener::Heard;
use crate::model::{Account, Model, Wish};
use crate::script::{self, Ask, Draft, From};

/// Far more turns than any script needs.
const TURNS: usize = 100_000;

#[derive(Clone, Debug)]
enum Step {
    Publish(Vec<Draft>),
    /// So many ask for one of the things that are asked for in this script.
    Join(Index, From, Format, Room, usize),
    Turn(usize),
    Look,
    /// Turns until nothing is left to be done.
    Settle,
    Room(Index, Room),
    At(Tick),
    Beat(Index, Tick),
    /// So many leave at once.
    Leave(Index, usize),
    Break(Index),
    Expire(Index),
    /// So many streams are to end. Only while the hub drains.
    End(usize),
}

/// How much a client takes.
type Room = Option<usize>;

/// With some so large that one chunk does not take all that waits.
fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    let large = prop::bool::weighted(0.1);
    let draft = (script::draft(), large).prop_map(|(mut draft, large)| {
        draft.padding *= if large { 200 } else { 1 };
        draft
    });
    prop::collection::vec(draft, 1..4)
}

/// Mostly such as many have in common.
fn ask() -> impl Strategy<Value = Ask> {
    let public = script::ask().prop_map(|mut ask| {
        ask.public = true;
        ask.topics.push("a");
        ask
    });
    prop_oneof![public, script::ask()]
}

fn room() -> impl Strategy<Value = Room> {
    prop_oneof![1 => Just(None), 1 => (0..400_usize).prop_map(Some)]
}

fn join() -> impl Strategy<Value = Step> {
    let count = prop_oneof![8 => 1..4_usize, 1 => 60..140_usize];
    (any::<Index>(), script::from(), select(&[Format::Plain, Format::Enveloped][..]), room(), count)
        .prop_map(|(ask, from, format, room, count)| Step::Join(ask, from, format, room, count))
}

fn serving() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..4_usize).prop_map(Step::Turn),
        6 => Just(Step::Look),
        3 => Just(Step::Settle),
        4 => (any::<Index>(), room()).prop_map(|(at, room)| Step::Room(at, room)),
        1 => (1..9_u32).prop_map(Step::At),
        3 => (any::<Index>(), 0..9_u32).prop_map(|(at, silence)| Step::Beat(at, silence)),
        2 => (any::<Index>(), prop_oneof![3 => Just(1_usize), 1 => 2..99_usize])
            .prop_map(|(at, count)| Step::Leave(at, count)),
        1 => any::<Index>().prop_map(Step::Break),
        1 => any::<Index>().prop_map(Step::Expire),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![8 => drafts().prop_map(Step::Publish), 4 => join(), 28 => serving()]
}

fn draining() -> impl Strategy<Value = Step> {
    prop_oneof![1 => prop_oneof![0..5_usize, Just(usize::MAX)].prop_map(Step::End), 3 => serving()]
}

/// Whatever the interleaving of publishes, joins, partial writes, signs of life and ends.
#[test]
fn every_seat_gets_all_that_it_is_owed_once_in_order_or_is_told_of_a_gap() {
    let several = |step, most| prop::collection::vec(step, 0..most);
    let script = (
        script::limits(),
        prop::collection::vec(ask(), 1..5),
        several(step().boxed(), 120),
        several(draining().boxed(), 20),
    );
    script::check(&script, |((kept, supplied, limits), asks, steps, draining)| {
        let mut world = World::new(kept, supplied, limits, &asks);
        steps.into_iter().for_each(|step| world.take(step));
        world.drain = Some(world.rig.hub.drain());
        draining.into_iter().for_each(|step| world.take(step));
        world.end();
    });
}

struct World {
    rig: Rig,
    model: Model,
    dispatcher: Dispatcher,
    bell: Arc<Bell>,
    clients: Clients,
    wishes: Vec<Wish>,
    subscribers: BTreeMap<SubscriberId, Subscriber>,
    published: usize,
    large: bool,
    drain: Option<Drain>,
    /// All streams were told to end.
    all_end: bool,
}

struct Subscriber {
    account: Account,
    expires: bool,
    /// It had all, and has taken it.
    idle: bool,
    /// Something that it asked for was published since.
    called: bool,
}

impl World {
    fn new(kept: MemoryLimits, supplied: bool, limits: HubLimits, asks: &[Ask]) -> Self {
        let rig = if supplied { Rig::supplied(kept, limits) } else { Rig::new(kept, limits) };
        let (bell, waker) = Bell::new();
        let wishes = asks.iter().map(Ask::wish).filter(|wish| wish.refusal().is_none()).collect();
        Self {
            model: Model::new(rig.span().start, supplied),
            dispatcher: rig.hub.dispatcher(waker),
            rig,
            bell,
            clients: Clients::default(),
            wishes,
            subscribers: BTreeMap::new(),
            published: 0,
            large: kept.bytes >= 1 << 20,
            drain: None,
            all_end: false,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Publish(drafts) => self.publish(&drafts),
            Step::Join(ask, from, format, room, count) => {
                (0..count).for_each(|_| self.join(ask, from, format, room));
            }
            Step::Turn(times) => (0..times).for_each(|_| _ = self.turn()),
            Step::Look => self.look(),
            Step::Settle => self.settle(),
            Step::Room(at, room) => self.with(at, |world, seat| world.give_room(seat, room)),
            Step::At(ticks) => self.at(self.clients.now + ticks),
            Step::Beat(at, silence) => self.with(at, |world, seat| world.beat(seat, silence)),
            Step::Leave(at, count) => (0..count).for_each(|_| self.with(at, Self::leave)),
            Step::Break(at) => {
                self.with(at, |world, seat| world.clients.get_mut(seat).is_gone = true);
            }
            Step::Expire(at) => self.with(at, Self::expire),
            Step::End(count) => self.end_some(count),
        }
        self.judge();
        self.check_counts();
    }

    fn publish(&mut self, drafts: &[Draft]) {
        let batch: Vec<_> = drafts.iter().map(|draft| self.publication(draft)).collect();
        let told = at_once(self.rig.hub.publish_all(batch.clone())).unwrap();
        for (told, publication) in told.iter().zip(batch).filter(|(told, _)| !told.repeated) {
            let subscribers = self.subscribers.values_mut();
            subscribers.for_each(|subscriber| subscriber.pass(told.position, &publication));
            let time = std::time::UNIX_EPOCH;
            self.model.push(Entry { position: told.position, time, publication });
        }
    }

    fn publication(&mut self, draft: &Draft) -> Publication {
        self.published += 1;
        let mut draft = draft.clone();
        draft.padding %= if self.large { usize::MAX } else { 200 };
        draft.publication(self.published)
    }

    fn join(&mut self, ask: Index, from: From, format: Format, room: Room) {
        if self.wishes.is_empty() {
            return;
        }
        let (wish, start) = (ask.get(&self.wishes).clone(), from.start(&self.model));
        let subscription = subscribe(&self.rig.hub, script::request(&wish, start.clone())).unwrap();
        let account = Account::open(&self.model, self.rig.span(), wish, Some(format), &start);
        let mut frames = subscription.into_frames(format);
        // Some drivers have said it with the head.
        let opening =
            if self.published.is_multiple_of(2) { frames.opening() } else { Bytes::new() };
        let seat = self.dispatcher.add(frames);
        self.clients.join(seat, format, room.unwrap_or(usize::MAX));
        if !opening.is_empty() {
            self.clients.get_mut(seat).hear_block(&opening);
        }
        let subscriber = Subscriber { account, expires: false, idle: false, called: false };
        self.subscribers.insert(seat, subscriber);
    }

    /// As a driver does: only after the bell.
    fn look(&mut self) {
        let rung = self.bell.take();
        assert!(rung <= 2, "once for the groups, and once for seats of their own");
        if rung > 0 {
            self.dispatcher.collect_wakes();
        }
    }

    fn turn(&mut self) -> bool {
        let more = self.dispatcher.serve_next(&mut self.clients);
        self.judge();
        more
    }

    fn settle(&mut self) {
        self.look();
        for _ in 0..TURNS {
            if !self.turn() {
                self.look();
                if !self.turn() {
                    return self.check_settled();
                }
            }
        }
        panic!("there is always something to be done");
    }

    fn check_settled(&mut self) {
        let taking = |seat: &SubscriberId| self.clients.get(*seat).blocked_since().is_none();
        for (_, subscriber) in self.subscribers.iter_mut().filter(|(seat, _)| taking(seat)) {
            if !subscriber.account.is_ahead(&self.model) {
                subscriber.account.check_caught_up(&self.model);
                (subscriber.idle, subscriber.called) = (true, false);
            }
        }
    }

    fn with(&mut self, at: Index, act: impl FnOnce(&mut Self, SubscriberId)) {
        let seats: Vec<_> = self.subscribers.keys().copied().collect();
        if !seats.is_empty() {
            act(self, *at.get(&seats));
        }
    }

    fn at(&mut self, now: Tick) {
        self.clients.now = now;
        self.dispatcher.set_time(now);
    }

    fn give_room(&mut self, seat: SubscriberId, room: Room) {
        let client = self.clients.get_mut(seat);
        client.room = room.map_or(usize::MAX, |room| client.room.saturating_add(room));
        if self.dispatcher.blocked_since(seat).is_some() {
            self.dispatcher.writable(seat);
        }
    }

    fn beat(&mut self, seat: SubscriberId, silence: Tick) {
        let blocked = self.clients.get(seat).blocked_since().is_some();
        // A seat may have had already what its group was sent last, which counts for it all the
        // same.
        let silent_for = self.clients.now - self.clients.told_at;
        let gone = self.clients.get(seat).is_gone;
        self.dispatcher.send_heartbeat(seat, silence, &mut self.clients);
        let told = self.clients.take_told().pop().map(|(_, told)| told).unwrap_or_default();
        let subscriber = self.subscribers.get_mut(&seat).unwrap();
        subscriber.account.beat();
        assert!(!blocked || told.is_empty(), "in the middle of a chunk");
        let has_all = subscriber.idle && !subscriber.called && !blocked && !gone;
        if has_all && silent_for >= silence {
            let tail = self.model.tail();
            let moved = subscriber.account.seen() != tail;
            let expected = if moved { Told::Heard(Heard::Position(tail)) } else { Told::Heartbeat };
            assert_eq!(told, [expected]);
        }
        match told[..] {
            [] | [Told::Heartbeat] => {}
            [Told::Heard(Heard::Position(position))] => {
                subscriber.account.hear_moved(&self.model, position);
            }
            _ => panic!("{told:?}"),
        }
    }

    fn leave(&mut self, seat: SubscriberId) {
        self.dispatcher.remove(seat);
        self.forget(seat);
    }

    fn forget(&mut self, seat: SubscriberId) {
        self.subscribers.remove(&seat).unwrap();
        self.clients.leave(seat);
    }

    fn expire(&mut self, seat: SubscriberId) {
        self.dispatcher.expire(seat);
        let subscriber = self.subscribers.get_mut(&seat).unwrap();
        (subscriber.expires, subscriber.idle) = (true, false);
    }

    fn end_some(&mut self, count: usize) {
        let ended = self.drain.as_ref().unwrap().end(if self.all_end { 0 } else { count });
        assert!(ended <= count.min(self.subscribers.len()));
        self.all_end |= count == usize::MAX;
        self.subscribers.values_mut().for_each(|subscriber| subscriber.idle = false);
    }

    /// What was told is what was owed when it was told.
    fn judge(&mut self) {
        let span = self.rig.span();
        for (seat, all) in self.clients.take_told() {
            let subscriber = self.subscribers.get_mut(&seat).unwrap();
            for told in all {
                match told {
                    Told::Heard(heard) => subscriber.account.hear(&self.model, span, &heard),
                    Told::Heartbeat => panic!("only signs of life are heartbeats"),
                    Told::Expired(position) => {
                        assert!(subscriber.expires);
                        subscriber.account.hear_expired(&self.model, position);
                    }
                    Told::End => {
                        assert!(subscriber.expires || self.drain.is_some());
                        if !subscriber.expires {
                            subscriber.account.check_caught_up(&self.model);
                        }
                    }
                }
            }
        }
        self.clients.take_left().into_iter().for_each(|seat| self.forget(seat));
    }

    fn check_counts(&self) {
        let count = self.subscribers.len();
        assert_eq!((self.dispatcher.len(), self.rig.hub.subscriptions()), (count, count));
        assert_eq!(self.dispatcher.is_empty(), count == 0);
        for seat in self.clients.seats() {
            assert_eq!(self.dispatcher.blocked_since(seat), self.clients.get(seat).blocked_since());
        }
    }

    fn end(mut self) {
        self.end_some(usize::MAX);
        let seats: Vec<_> = self.clients.seats().collect();
        seats.into_iter().for_each(|seat| self.give_room(seat, None));
        self.settle();
        assert!(self.subscribers.is_empty(), "{} streams do not end", self.subscribers.len());
        assert_eq!(self.drain.unwrap().open(), 0);
    }
}

impl Subscriber {
    /// Something was published, for it or for others.
    fn pass(&mut self, position: Position, publication: &Publication) {
        self.called |= self.account.wish().matches(publication);
        if self.idle && !self.called {
            self.account.wait_to(position);
        }
    }
}
