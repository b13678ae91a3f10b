//! Random use of one dispatcher, against the model.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use carafe_hub::{Dispatcher, Drain, Format, Heartbeat, HubLimits, SubscriberId, Tick};
use carafe_log::{Entry, MemoryLimits, Publication};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::account::Account;
use crate::client::{Clients, Sent, WakeCounter};
use crate::fixture::{Rig, subscribe};
use crate::listener::Item;
use crate::model::{Model, Wish, is_erased};
use crate::script::{self, Ask, Draft, From};

/// Far more turns than any script needs.
const TURNS: usize = 100_000;

#[derive(Clone, Debug)]
enum Step {
    Publish(Vec<Draft>),
    EraseOne(Index),
    /// Adds subscribers with one of the requests of this script.
    Join(Index, From, Format, Room, usize),
    Turn(usize),
    Look,
    /// Serves until nothing is left to do.
    Settle,
    Room(Index, Room),
    At(Tick),
    Beat(Index, Tick),
    /// Removes several subscribers at once.
    Leave(Index, usize),
    Break(Index),
    Expire(Index),
    /// Lets streams end. Only while the hub drains.
    End(usize),
}

/// How much a client takes.
type Room = Option<usize>;

/// Some are so large that one chunk does not hold everything that waits.
fn drafts() -> impl Strategy<Value = Vec<Draft>> {
    let large = prop::bool::weighted(0.1);
    let draft = (script::draft(), large).prop_map(|(mut draft, large)| {
        draft.padding *= if large { 200 } else { 1 };
        draft
    });
    prop::collection::vec(draft, 1..4)
}

/// Mostly requests that many subscribers share.
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
    prop_oneof![
        8 => drafts().prop_map(Step::Publish),
        1 => any::<Index>().prop_map(Step::EraseOne),
        4 => join(),
        28 => serving(),
    ]
}

fn draining() -> impl Strategy<Value = Step> {
    prop_oneof![1 => prop_oneof![0..5_usize, Just(usize::MAX)].prop_map(Step::End), 3 => serving()]
}

/// For any interleaving of publishes, erasures, new subscribers, partial writes, heartbeats and
/// ends.
#[test]
fn every_subscriber_receives_each_event_once_in_order_or_a_gap() {
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
    wakes: Arc<WakeCounter>,
    clients: Clients,
    wishes: Vec<Wish>,
    subscribers: BTreeMap<SubscriberId, Subscriber>,
    published: usize,
    large: bool,
    drain: Option<Drain>,
    /// All streams have to end.
    all_end: bool,
}

struct Subscriber {
    account: Account,
    wants_events: bool,
    expires: bool,
    /// The client had received and taken everything.
    idle: bool,
    /// Something that it requested was published since.
    called: bool,
}

impl World {
    fn new(kept: MemoryLimits, supplied: bool, limits: HubLimits, asks: &[Ask]) -> Self {
        let rig = if supplied { Rig::supplied(kept, limits) } else { Rig::new(kept, limits) };
        let (wakes, waker) = WakeCounter::new();
        let wishes = asks.iter().map(Ask::wish).filter(|wish| wish.refusal().is_none()).collect();
        Self {
            model: Model::new(rig.span().start).of_log_that_is_supplied(supplied),
            dispatcher: rig.hub.dispatcher(waker),
            rig,
            wakes,
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
            Step::EraseOne(at) => {
                let erasure = self.model.erase_one(&self.rig, at);
                self.pass(erasure.as_slice());
            }
            Step::Join(ask, from, format, room, count) => {
                (0..count).for_each(|_| self.join(ask, from, format, room));
            }
            Step::Turn(times) => (0..times).for_each(|_| _ = self.turn()),
            Step::Look => self.look(),
            Step::Settle => self.serve_all(),
            Step::Room(at, room) => self.with(at, |world, id| world.give_room(id, room)),
            Step::At(ticks) => self.at(self.clients.now + ticks),
            Step::Beat(at, silence) => self.with(at, |world, id| world.heartbeat(id, silence)),
            Step::Leave(at, count) => (0..count).for_each(|_| self.with(at, Self::leave)),
            Step::Break(at) => {
                self.with(at, |world, id| world.clients.get_mut(id).is_gone = true);
            }
            Step::Expire(at) => self.with(at, Self::expire),
            Step::End(count) => self.end_some(count),
        }
        self.judge();
        self.check_counts();
    }

    fn publish(&mut self, drafts: &[Draft]) {
        let batch = drafts.iter().map(|draft| self.publication(draft)).collect();
        let stored = self.model.publish(&self.rig, batch);
        self.pass(&stored);
    }

    fn pass(&mut self, stored: &[Entry]) {
        for subscriber in self.subscribers.values_mut() {
            stored.iter().for_each(|entry| subscriber.pass(entry));
        }
        if stored.iter().any(|entry| entry.publication.is_erasure()) {
            let erased = self.model.entries().iter().filter(|entry| is_erased(entry));
            self.clients.erase(erased.map(Entry::offset).collect());
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
        let wants_events = self.published % 3 == 1;
        let heartbeat = if wants_events { Heartbeat::event() } else { Heartbeat::comment() };
        let mut frames = subscription.into_frames(format).with_heartbeat(heartbeat);
        // Some drivers send the opening with the response head.
        let opening =
            if self.published.is_multiple_of(2) { frames.opening() } else { Bytes::new() };
        let id = self.dispatcher.add(frames);
        self.clients.join(id, format, room.unwrap_or(usize::MAX));
        if !opening.is_empty() {
            self.clients.get_mut(id).receive_block(&opening);
        }
        let subscriber =
            Subscriber { account, wants_events, expires: false, idle: false, called: false };
        self.subscribers.insert(id, subscriber);
    }

    /// Collects as a driver does: only after the waker was called.
    fn look(&mut self) {
        let called = self.wakes.take();
        assert!(called <= 2, "once for the groups, and once for subscribers that replay");
        if called > 0 {
            self.dispatcher.collect_wakes();
        }
    }

    fn turn(&mut self) -> bool {
        let more = self.dispatcher.serve_next(&mut self.clients);
        self.judge();
        more
    }

    fn serve_all(&mut self) {
        self.look();
        for _ in 0..TURNS {
            if !self.turn() {
                self.look();
                if !self.turn() {
                    return self.check_served();
                }
            }
        }
        panic!("there is always something to be done");
    }

    fn check_served(&mut self) {
        let taking = |id: &SubscriberId| self.clients.get(*id).blocked_since().is_none();
        for (_, subscriber) in self.subscribers.iter_mut().filter(|(id, _)| taking(id)) {
            let is_over = self.model.is_over(self.rig.span(), subscriber.account.wish());
            assert!(!is_over, "it has received the ends of all its topics, and waits");
            subscriber.account.check_caught_up(&self.model);
            (subscriber.idle, subscriber.called) = (true, false);
        }
    }

    fn with(&mut self, at: Index, act: impl FnOnce(&mut Self, SubscriberId)) {
        let ids: Vec<_> = self.subscribers.keys().copied().collect();
        if !ids.is_empty() {
            act(self, *at.get(&ids));
        }
    }

    fn at(&mut self, now: Tick) {
        self.clients.now = now;
        self.dispatcher.set_time(now);
    }

    fn give_room(&mut self, id: SubscriberId, room: Room) {
        let client = self.clients.get_mut(id);
        client.room = room.map_or(usize::MAX, |room| client.room.saturating_add(room));
        if self.dispatcher.blocked_since(id).is_some() {
            self.dispatcher.writable(id);
        }
    }

    fn heartbeat(&mut self, id: SubscriberId, silence: Tick) {
        let blocked = self.clients.get(id).blocked_since().is_some();
        // A subscriber may have had already what its group was sent last, which counts for it
        // too.
        let silent_for = self.clients.now - self.clients.received_at;
        let gone = self.clients.get(id).is_gone;
        self.dispatcher.send_heartbeat(id, silence, &mut self.clients);
        let received =
            self.clients.take_received().pop().map(|(_, received)| received).unwrap_or_default();
        let subscriber = self.subscribers.get_mut(&id).unwrap();
        assert!(!blocked || received.is_empty(), "in the middle of a chunk");
        let has_all = subscriber.idle && !subscriber.called && !blocked && !gone;
        if has_all && silent_for >= silence {
            let tail = self.model.tail();
            let moved = subscriber.account.seen() != tail;
            let expected = match (subscriber.wants_events, moved) {
                (true, _) => Sent::HeartbeatEvent(tail),
                (false, true) => Sent::Item(Item::Position(tail)),
                (false, false) => Sent::Heartbeat,
            };
            assert_eq!(received, [expected]);
        }
        match received[..] {
            [] | [Sent::Heartbeat] => {}
            [Sent::HeartbeatEvent(position)] => {
                assert!(subscriber.wants_events);
                subscriber.account.hear_stated(&self.model, position);
            }
            [Sent::Item(Item::Position(position))] => {
                subscriber.account.hear_moved(&self.model, position);
            }
            _ => panic!("{received:?}"),
        }
    }

    fn leave(&mut self, id: SubscriberId) {
        self.dispatcher.remove(id);
        self.forget(id);
    }

    fn forget(&mut self, id: SubscriberId) {
        self.subscribers.remove(&id).unwrap();
        self.clients.leave(id);
    }

    fn expire(&mut self, id: SubscriberId) {
        self.dispatcher.expire(id);
        let subscriber = self.subscribers.get_mut(&id).unwrap();
        (subscriber.expires, subscriber.idle) = (true, false);
    }

    fn end_some(&mut self, count: usize) {
        let ended = self.drain.as_ref().unwrap().end(if self.all_end { 0 } else { count });
        assert!(ended <= count.min(self.subscribers.len()));
        self.all_end |= count == usize::MAX;
        self.subscribers.values_mut().for_each(|subscriber| subscriber.idle = false);
    }

    /// What each client received is what the model expects at that time.
    fn judge(&mut self) {
        let span = self.rig.span();
        for (id, all) in self.clients.take_received() {
            let subscriber = self.subscribers.get_mut(&id).unwrap();
            for received in all {
                match received {
                    Sent::Item(items) => subscriber.account.receive(&self.model, span, &items),
                    Sent::Heartbeat | Sent::HeartbeatEvent(_) => {
                        panic!("a heartbeat was not due")
                    }
                    Sent::Expired(position) => {
                        assert!(subscriber.expires);
                        subscriber.account.hear_expired(&self.model, position);
                    }
                    Sent::End => {
                        let account = &subscriber.account;
                        // A client that takes little is sent the end of its stream late.
                        let was_over = self.model.was_over(account.wish(), account.seen());
                        assert!(subscriber.expires || self.drain.is_some() || was_over);
                        if !subscriber.expires && !was_over {
                            subscriber.account.check_caught_up(&self.model);
                        }
                    }
                }
            }
        }
        self.clients.take_left().into_iter().for_each(|id| self.forget(id));
    }

    fn check_counts(&self) {
        let count = self.subscribers.len();
        assert_eq!((self.dispatcher.len(), self.rig.hub.subscriptions()), (count, count));
        assert_eq!(self.dispatcher.is_empty(), count == 0);
        for id in self.clients.subscribers() {
            assert_eq!(self.dispatcher.blocked_since(id), self.clients.get(id).blocked_since());
        }
    }

    fn end(mut self) {
        self.end_some(usize::MAX);
        let ids: Vec<_> = self.clients.subscribers().collect();
        ids.into_iter().for_each(|id| self.give_room(id, None));
        self.serve_all();
        assert!(self.subscribers.is_empty(), "{} streams do not end", self.subscribers.len());
        assert_eq!(self.drain.unwrap().open(), 0);
    }
}

impl Subscriber {
    /// Something was published, for this subscriber or for others.
    fn pass(&mut self, entry: &Entry) {
        self.called |= self.account.wish().matches(&entry.publication);
        if self.idle && !self.called {
            self.account.wait_to(entry.position);
        }
    }
}
