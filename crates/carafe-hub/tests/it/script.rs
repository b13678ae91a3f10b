//! Random use of one hub, against the model.

use carafe_hub::{
    Access, Format, Grant, HubLimits, PublishError, Start, Subscribe, SubscribeError,
};
use carafe_log::{Entry, Erase, IdempotencyKey, Kind, MemoryLimits, Outcome, Publication};
use carafe_protocol::{Generation, Position, TopicMatcher};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{RngSeed, TestRunner};

use crate::account::Account;
use crate::fixture::{
    FORMATS, Rig, at_once, event_type, exact, no_ring, pattern, publication, subscribe, topic,
};
use crate::listener::{Listener, Polled};
use crate::model::{Model, Wish};

const SEED: u64 = 0xCAFE;
const CASES: u32 = 128;

const TOPICS: [&str; 6] = ["a", "b", "orders", "orders/1", "orders/2", "orders/1/x"];
const PATTERNS: [&str; 6] =
    ["orders/:id", "orders/*", "*/x", "*", r"orders/(\d+)", "orders{/:id}?"];

#[derive(Clone, Debug)]
enum Step {
    Publish(Vec<Draft>),
    EraseOne(Index),
    Join(Ask),
    Poll(Index, usize),
    Idle(Index),
    Leave(Index),
    Reconnect(Index),
}

/// A publication of a script.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    to: &'static str,
    alternate: Option<&'static str>,
    private: bool,
    typed: bool,
    key: Option<u8>,
    pub(crate) padding: usize,
    what: What,
}

/// What a publication is.
#[derive(Clone, Copy, Debug)]
enum What {
    Event,
    /// An event that reopens its topics.
    Reopening,
    End(Outcome),
    Stop,
    /// Erases the topic.
    Erase,
}

/// A subscription of a script.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) topics: Vec<&'static str>,
    patterns: Vec<&'static str>,
    pub(crate) public: bool,
    granted: Vec<&'static str>,
    from: From,
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    Tail,
    Earliest,
    Last(usize),
    Latest,
    After(Index),
    WrongNonce(Index),
    OtherLog(Index),
    Ahead(u64),
    NoPosition,
}

/// What a log keeps, whether another node supplies it, and what a hub may use.
pub(crate) fn limits() -> impl Strategy<Value = (MemoryLimits, bool, HubLimits)> {
    let bytes = || prop_oneof![2_500..8_000_usize, Just(1 << 20)];
    let kept = (prop_oneof![1..24_usize, Just(1000)], bytes());
    let ring = prop_oneof![Just(0), 0..4_000_usize, Just(1 << 20)];
    (kept, any::<bool>(), ring).prop_map(|((entries, bytes), supplied, ring_bytes)| {
        (
            MemoryLimits::default().with_entries(entries).with_bytes(bytes),
            supplied,
            no_ring().with_ring_bytes(ring_bytes),
        )
    })
}

pub(crate) fn draft() -> impl Strategy<Value = Draft> {
    let alternate = prop::option::weighted(0.3, select(&TOPICS));
    let (private, typed) = (prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    let key = prop::option::weighted(0.2, 0_u8..4);
    (select(&TOPICS), alternate, private, typed, key, 0..200_usize, what()).prop_map(
        |(to, alternate, private, typed, key, padding, what)| Draft {
            to,
            alternate,
            private,
            typed,
            key,
            padding,
            what,
        },
    )
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        16 => Just(What::Event),
        6 => Just(What::Reopening),
        4 => select(&Outcome::ALL[..]).prop_map(What::End),
        1 => Just(What::Stop),
        2 => Just(What::Erase),
    ]
}

pub(crate) fn ask() -> impl Strategy<Value = Ask> {
    let (topics, patterns) = (
        prop::collection::vec(select(&TOPICS), 0..3),
        prop::collection::vec(select(&PATTERNS), 0..3),
    );
    let granted = prop::collection::vec(prop_oneof![select(&TOPICS), select(&PATTERNS)], 0..3);
    (topics, patterns, (any::<bool>(), granted), from(), select(&FORMATS)).prop_map(
        |(topics, patterns, (public, granted), from, format)| Ask {
            topics,
            patterns,
            public,
            granted,
            from,
            format,
        },
    )
}

pub(crate) fn from() -> impl Strategy<Value = From> {
    prop_oneof![
        3 => Just(From::Tail),
        2 => Just(From::Earliest),
        2 => (0..8_usize).prop_map(From::Last),
        2 => Just(From::Latest),
        3 => any::<Index>().prop_map(From::After),
        1 => any::<Index>().prop_map(From::WrongNonce),
        1 => any::<Index>().prop_map(From::OtherLog),
        1 => (1..5_u64).prop_map(From::Ahead),
        1 => Just(From::NoPosition),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(draft(), 1..4).prop_map(Step::Publish),
        1 => any::<Index>().prop_map(Step::EraseOne),
        4 => ask().prop_map(Step::Join),
        8 => (any::<Index>(), 1..8_usize).prop_map(|(at, times)| Step::Poll(at, times)),
        2 => any::<Index>().prop_map(Step::Idle),
        1 => any::<Index>().prop_map(Step::Leave),
        2 => any::<Index>().prop_map(Step::Reconnect),
    ]
}

/// For any interleaving of publishes, erasures, trims, new subscriptions, delays and resumes.
#[test]
fn every_subscription_delivers_each_event_once_in_order_or_a_gap() {
    let script = (limits(), prop::collection::vec(step(), 0..120));
    check(&script, |((kept, supplied, limits), steps)| {
        let mut world = World::new(kept, supplied, limits);
        steps.into_iter().for_each(|step| world.take(step));
        world.end();
    });
}

/// Runs a test for random scripts.
pub(crate) fn check<S: Strategy>(script: &S, test: impl Fn(S::Value)) {
    let given = ProptestConfig::default();
    let rng_seed =
        if given.rng_seed == RngSeed::Random { RngSeed::Fixed(SEED) } else { given.rng_seed };
    println!("seed {rng_seed}; PROPTEST_RNG_SEED sets another");
    let cases = std::env::var("PROPTEST_CASES").map_or(CASES, |_| given.cases);
    let config = ProptestConfig { rng_seed, cases, failure_persistence: None, ..given };
    let run = |script| {
        test(script);
        Ok(())
    };
    TestRunner::new(config).run(script, run).unwrap_or_else(|error| panic!("{error}"));
}

struct World {
    rig: Rig,
    model: Model,
    subscribers: Vec<Subscriber>,
    published: usize,
    draining: bool,
}

struct Subscriber {
    listener: Listener,
    account: Account,
    start: Start,
    /// How often it has to have been woken while it waits.
    wakes: Option<usize>,
    /// Something it requested was published since it waits.
    called: bool,
    /// All its topics have ended, and so has its stream.
    ended: bool,
}

impl World {
    fn new(kept: MemoryLimits, supplied: bool, limits: HubLimits) -> Self {
        let rig = if supplied { Rig::supplied(kept, limits) } else { Rig::new(kept, limits) };
        let model = Model::new(rig.span().start).of_log_that_is_supplied(supplied);
        Self { rig, model, subscribers: Vec::new(), published: 0, draining: false }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Publish(drafts) => self.publish(&drafts),
            Step::EraseOne(at) => {
                let erasure = self.model.erase_one(&self.rig, at);
                self.pass(erasure.as_slice());
            }
            Step::Join(ask) => self.join_as(&ask),
            Step::Poll(at, times) => {
                self.with(at, |world, subscriber| world.poll(subscriber, times));
            }
            Step::Idle(at) => self.with(at, Self::idle),
            Step::Leave(at) => drop(self.remove(at)),
            Step::Reconnect(at) => self.reconnect(at),
        }
        assert_eq!(self.rig.hub.position(), self.model.tail());
        assert_eq!(self.rig.hub.subscriptions(), self.subscribers.len());
    }

    fn publish(&mut self, drafts: &[Draft]) {
        let batch = drafts.iter().map(|draft| self.publication(draft)).collect();
        let stored = self.model.publish(&self.rig, batch);
        self.pass(&stored);
    }

    fn pass(&mut self, stored: &[Entry]) {
        for subscriber in &mut self.subscribers {
            stored.iter().for_each(|entry| subscriber.pass(entry));
            subscriber.check_wakes();
        }
    }

    fn publication(&mut self, draft: &Draft) -> Publication {
        self.published += 1;
        draft.publication(self.published)
    }

    fn join_as(&mut self, ask: &Ask) {
        let (wish, start) = (ask.wish(), ask.from.start(&self.model));
        if let Some(refusal) = wish.refusal() {
            assert_eq!(subscribe(&self.rig.hub, request(&wish, start)).err(), Some(refusal));
            return;
        }
        let subscriber = self.join(wish, ask.format, start);
        self.subscribers.push(subscriber);
    }

    fn join(&self, wish: Wish, format: Option<Format>, start: Start) -> Subscriber {
        let request = request(&wish, start.clone());
        let listener = Listener::new(subscribe(&self.rig.hub, request).unwrap(), format);
        let account = Account::open(&self.model, self.rig.span(), wish, format, &start);
        Subscriber { listener, account, start, wakes: None, called: false, ended: false }
    }

    fn with(&mut self, at: Index, act: impl FnOnce(&Self, &mut Subscriber)) {
        if let Some(mut subscriber) = self.remove(at) {
            act(self, &mut subscriber);
            self.subscribers.push(subscriber);
        }
    }

    fn remove(&mut self, at: Index) -> Option<Subscriber> {
        let count = self.subscribers.len();
        (count > 0).then(|| self.subscribers.swap_remove(at.index(count)))
    }

    /// As a client does: after the last ID that it received, or as before if it received none.
    fn reconnect(&mut self, at: Index) {
        let Some(old) = self.remove(at) else { return };
        let start = old.account.ids().last().map_or(old.start, |id| Start::AfterId(id.to_string()));
        let (wish, format) = (old.account.wish().clone(), old.listener.format());
        drop(old.listener);
        let new = self.join(wish, format, start);
        self.subscribers.push(new);
    }

    fn poll(&self, subscriber: &mut Subscriber, times: usize) {
        for _ in 0..times {
            if matches!(self.poll_once(subscriber), Polled::Waiting | Polled::Ended) {
                return;
            }
        }
    }

    fn poll_once(&self, subscriber: &mut Subscriber) -> Polled {
        let polled = subscriber.listener.poll();
        if subscriber.ended {
            assert_eq!(polled, Polled::Ended, "whatever comes after the end");
            return polled;
        }
        subscriber.wakes = None;
        let span = self.rig.span();
        match &polled {
            Polled::Items(items) => {
                items.iter().for_each(|items| subscriber.account.receive(&self.model, span, items));
            }
            Polled::Waiting | Polled::Ended => {
                subscriber.account.check_caught_up(&self.model);
                let is_over = self.model.is_over(span, subscriber.account.wish());
                subscriber.ended = polled == Polled::Ended;
                assert_eq!(subscriber.ended, is_over || self.draining);
                subscriber.wakes = (!is_over).then(|| subscriber.listener.wakes());
                subscriber.called = false;
            }
        }
        polled
    }

    fn idle(&self, subscriber: &mut Subscriber) {
        if subscriber.listener.format().is_some() && !subscriber.ended {
            let items = subscriber.listener.position_if_moved();
            subscriber.account.hear_idle(&self.model, items.as_ref());
        }
    }

    fn end(mut self) {
        self.resume_after_every_id();
        let drain = self.rig.hub.drain();
        self.draining = true;
        assert_eq!(drain.end(usize::MAX), self.subscribers.len());
        for subscriber in &mut self.subscribers {
            subscriber.called = true;
            subscriber.check_wakes();
        }
        for mut subscriber in std::mem::take(&mut self.subscribers) {
            while self.poll_once(&mut subscriber) != Polled::Ended {}
            assert_eq!(subscriber.listener.poll(), Polled::Ended, "the end is repeated");
        }
        assert_eq!((drain.open(), self.rig.hub.subscriptions()), (0, 0));
        self.check_rejects();
    }

    fn resume_after_every_id(&self) {
        for subscriber in
            self.subscribers.iter().filter(|subscriber| subscriber.listener.format().is_some())
        {
            let (account, format) = (&subscriber.account, subscriber.listener.format());
            for id in account.ids() {
                let mut again =
                    self.join(account.wish().clone(), format, Start::AfterId(id.to_string()));
                while matches!(self.poll_once(&mut again), Polled::Items(_)) {}
            }
        }
    }

    fn check_rejects(&self) {
        let refused = at_once(self.rig.hub.publish(publication("a", "")));
        assert_eq!(refused, Err(PublishError::Draining));
        let refused = subscribe(&self.rig.hub, Subscribe::to(TopicMatcher::any()));
        assert_eq!(refused.err(), Some(SubscribeError::Draining));
    }
}

impl Draft {
    pub(crate) fn publication(&self, number: usize) -> Publication {
        let data = format!("{}\n{}", number, "x".repeat(self.padding));
        let event = || publication(self.to, &data).with_alternates(self.alternate.map(topic));
        let publication = match self.what {
            What::Event => event(),
            What::Reopening => event().with_reopening(true),
            What::End(outcome) => Publication::end(topic(self.to), outcome).with_data(data),
            What::Stop => Publication::stop(topic(self.to)),
            What::Erase => Publication::erase(topic(self.to), Erase::Before),
        };
        let publication = publication.with_private(self.private);
        let key = self.key.map(|key| IdempotencyKey::new(&key.to_string()).unwrap());
        let publication = key.into_iter().fold(publication, Publication::with_key);
        let typed = self.typed && publication.kind() == Kind::Event;
        if typed { publication.with_type(event_type("typed")) } else { publication }
    }
}

impl Ask {
    pub(crate) fn wish(&self) -> Wish {
        let topics = self.topics.iter().map(|text| exact(text));
        let patterns = self.patterns.iter().map(|text| pattern(text));
        let granted = self.granted.iter().map(|text| exact_or_pattern(text)).collect();
        Wish { matchers: topics.chain(patterns).collect(), public: self.public, granted }
    }
}

impl From {
    pub(crate) fn start(self, model: &Model) -> Start {
        let known = |at: Index| *at.get(&model.positions());
        let position = match self {
            Self::Tail => return Start::Tail,
            Self::Earliest => return Start::Earliest,
            Self::Last(count) => return Start::Last(count),
            Self::Latest => return Start::Latest,
            Self::NoPosition => return Start::AfterId("no position".to_owned()),
            Self::After(at) => known(at),
            Self::WrongNonce(at) => Position { nonce: known(at).nonce ^ 1, ..known(at) },
            Self::OtherLog(at) => Position { generation: Generation::new(1), ..known(at) },
            Self::Ahead(by) => Position { offset: model.tail().offset + by, ..model.tail() },
        };
        Start::After(position)
    }
}

pub(crate) fn request(wish: &Wish, start: Start) -> Subscribe {
    let access = Access::to(Grant::to(wish.granted.clone())).with_public(wish.public);
    Subscribe::to_all(wish.matchers.clone()).with_access(access).from(start)
}

fn exact_or_pattern(text: &str) -> TopicMatcher {
    if TOPICS.contains(&text) { exact(text) } else { pattern(text) }
}

impl Subscriber {
    /// Something was published, for this subscriber or for others.
    fn pass(&mut self, entry: &Entry) {
        self.called |= self.account.wish().matches(&entry.publication);
        if self.wakes.is_some() && !self.called {
            self.account.wait_to(entry.position);
        }
    }

    /// A waiting subscriber is woken once by what it requested, and by nothing else.
    fn check_wakes(&self) {
        if let Some(before) = self.wakes {
            assert_eq!(self.listener.wakes() - before, usize::from(self.called), "woken");
        }
    }
}
