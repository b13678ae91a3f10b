//! No subscriber receives what it may not see, on any delivery path: judged by an independent
//! oracle.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use carafe_hub::{
    Access, Delivery, Dispatcher, Format, Frames, Grant, Hub, PublishError, Sink, Start, Subscribe,
    SubscriberId, Subscription, Written,
};
use carafe_log::{
    AppendError, DiskLog, DiskOptions, ExternalId, IdempotencyKey, Log, MemoryLimits, MemoryLog,
    Outcome, Publication,
};
use carafe_protocol::{TopicMatcher, TopicPattern};
use futures_core::Stream;
use tokio::runtime::{Builder, Runtime};

use crate::fixture::{EXTERNAL_IDS, event_type, exact, no_ring, publication, topic};
use crate::oracle::{Fact, Fate, Oracle, Random, Reading, Tally, What, Wish, names};

/// Events that are judged; `CARAFE_TEST_DELIVERIES` sets another number.
const DELIVERIES: usize = 1_000_000;
const SEED: u64 = 0xCAFE;
const STEPS: usize = 700;
const READERS: usize = 40;

#[test]
fn nothing_is_sent_to_a_subscriber_that_may_not_see_it() {
    let (seed, deliveries) =
        (number("CARAFE_TEST_SEED", SEED), number("CARAFE_TEST_DELIVERIES", DELIVERIES));
    println!("CARAFE_TEST_SEED={seed} CARAFE_TEST_DELIVERIES={deliveries}");
    judge(seed, deliveries, |random| {
        let entries = *random.pick(&[20, 200, usize::MAX]);
        hub(random, MemoryLog::new(MemoryLimits::default().with_entries(entries)))
    });
}

#[test]
fn nothing_on_a_disk_is_sent_to_a_subscriber_that_may_not_see_it() {
    let (seed, folder) = (number("CARAFE_TEST_SEED", SEED), tempfile::tempdir().unwrap());
    println!("CARAFE_TEST_SEED={seed}");
    let options = DiskOptions::default().with_segment_bytes(4096).with_readers(1);
    judge(seed, DELIVERIES / 100, |random| {
        let log = DiskLog::open(folder.path().join(random.secret()), options).unwrap();
        hub(random, log)
    });
}

/// Judges this many events, of as many hubs as needed.
fn judge(seed: u64, deliveries: usize, mut hub: impl FnMut(&mut Random) -> Hub) {
    let (mut tally, mut random, mut answers, mut hubs) =
        (Tally::default(), Random::new(seed), 0, 0);
    while tally.events < deliveries {
        let hub = hub(&mut random);
        let mut world = World::new(hub, Random::new(random.next()), &mut tally);
        (0..STEPS).for_each(|_| world.step());
        answers += world.finish();
        hubs += 1;
    }
    println!("{tally:?} and {answers} answers of {hubs} hubs: nothing leaked");
    assert!(tally.events >= deliveries && tally.positions > 0 && tally.gaps > 0 && answers > 0);
    assert!(tally.ends > deliveries / 100);
}

/// A hub with a small ring, so that much is read from the log.
fn hub(random: &mut Random, log: impl Log + 'static) -> Hub {
    let ring_bytes = *random.pick(&[0, 2_000, 8_000, 1 << 20]);
    Hub::with_limits(log, no_ring().with_ring_bytes(ring_bytes))
}

fn number<N: std::str::FromStr>(name: &str, default: N) -> N {
    std::env::var(name).map_or(default, |text| text.parse().ok().expect("a whole number"))
}

/// One hub, and all its readers.
struct World<'a> {
    random: Random,
    tally: &'a mut Tally,
    oracle: Oracle,
    hub: Hub,
    runtime: Runtime,
    first: String,
    accesses: Vec<Wish>,
    dispatcher: Dispatcher,
    clients: Clients,
    readers: Vec<Reader>,
    /// The errors of requests for topics that are not granted.
    refusal: Option<String>,
    answers: usize,
    drains: bool,
}

/// One reader, and its delivery path.
struct Reader {
    reading: Reading,
    /// The position that the stream begins with, if the oracle knows it.
    begins: Option<String>,
    path: Path,
    has_ended: bool,
    /// All its topics had ended when it was last read: a stream that knows it ends, although they
    /// are reopened.
    was_over: bool,
}

enum Path {
    Entries(Subscription),
    Frames(Frames),
    /// The number of its client.
    Seat(usize),
}

impl<'a> World<'a> {
    fn new(hub: Hub, mut random: Random, tally: &'a mut Tally) -> Self {
        let (first, (topics, matchers)) = (hub.position().to_string(), names(&mut random));
        let oracle = Oracle::new(topics, matchers, first.clone());
        let accesses = (0..12).map(|_| access(&mut random, &oracle)).collect();
        Self {
            first,
            random,
            tally,
            oracle,
            accesses,
            dispatcher: hub.dispatcher(Waker::noop().clone()),
            hub,
            runtime: Builder::new_current_thread().build().unwrap(),
            clients: Clients::default(),
            readers: Vec::new(),
            refusal: None,
            answers: 0,
            drains: false,
        }
    }

    fn step(&mut self) {
        match self.random.below(24) {
            0..6 => self.publish(),
            6..9 => self.join(),
            9 => self.leave(),
            10..18 => self.read_one(),
            18..20 => self.drive(),
            20 => self.heartbeat(),
            21 => self.ask_for_id(),
            22 => self.ask_for_newest(),
            _ => self.expire(),
        }
    }

    /// Reads until all streams have ended, and returns how many answers were judged.
    fn finish(mut self) -> usize {
        let drain = self.hub.drain();
        self.drains = true;
        while drain.open() > 0 {
            drain.end(READERS);
            (0..self.readers.len()).for_each(|at| self.read(at, usize::MAX));
            self.readers.retain(|reader| !reader.has_ended);
            // Readers of the disk are awaited.
            std::thread::yield_now();
        }
        self.answers
    }

    fn publish(&mut self) {
        for _ in 0..=self.random.below(4) {
            let mut fact = self.oracle.draft(&mut self.random);
            let publication = self.publication(&fact);
            let fate = self.oracle.fate(&fact, self.gone());
            match (fate, self.runtime.block_on(self.hub.publish(publication))) {
                (Fate::Stored, Ok(appended)) if !appended.repeated => {
                    fact.position = appended.position.to_string();
                    self.oracle.publish(fact);
                }
                (Fate::Repeated(position), Ok(appended)) if appended.repeated => {
                    assert_eq!(appended.position.to_string(), position);
                }
                (Fate::Refused, Err(PublishError::Append(AppendError::Ended { .. }))) => {}
                (fate, answer) => panic!("{fate:?}, not {answer:?}"),
            }
        }
    }

    fn publication(&self, fact: &Fact) -> Publication {
        let topics: Vec<_> = fact.topics.iter().map(|at| topic(&self.oracle.topics[*at])).collect();
        let publication = match fact.what {
            What::End => Publication::end(topics[0].clone(), Outcome::Done).with_data(&*fact.data),
            What::Event | What::Reopening => publication(topics[0].as_str(), &fact.data)
                .with_alternates(topics[1..].iter().cloned())
                .with_reopening(fact.what == What::Reopening),
        };
        let publication = publication.with_private(fact.private);
        // Two events of one topic with one key would be one event.
        let publication = match self.oracle.events.iter().any(|event| event.id == fact.id) {
            true => publication.with_external_id(ExternalId::new(&fact.id).unwrap()),
            false => publication.with_key(IdempotencyKey::new(&fact.id).unwrap()),
        };
        let kind = fact.event_type.iter().map(|text| event_type(text));
        kind.fold(publication, Publication::with_type)
    }

    fn join(&mut self) {
        if self.readers.len() >= READERS {
            return self.leave();
        }
        let asked = self.random.some(3, self.oracle.matchers.len());
        let wish = Wish { asked, ..self.random.pick(&self.accesses).clone() };
        let (start, begins) = self.start(&wish);
        let requested = match &start {
            Start::AfterId(id) => id.clone(),
            Start::After(position) => position.to_string(),
            _ => String::new(),
        };
        let subscribed =
            self.runtime.block_on(self.hub.subscribe(request(&self.oracle, &wish).from(start)));
        assert_eq!(subscribed.is_err(), self.oracle.is_refused(&wish), "{wish:?}");
        self.answers += 1;
        let subscription = match subscribed {
            Ok(subscription) => subscription,
            Err(error) => return self.is_rejected_alike(&error.to_string()),
        };
        let custom = Format::custom(&EXTERNAL_IDS);
        let format =
            *self.random.pick(&[Format::Plain, Format::Enveloped, Format::Enveloped, custom]);
        let (path, custom_format) = match self.random.below(5) {
            0 => (Path::Entries(subscription), false),
            1 => (Path::Frames(subscription.into_frames(format)), format == custom),
            _ => (
                Path::Seat(self.add_subscriber(subscription.into_frames(format))),
                format == custom,
            ),
        };
        let reading = Reading { wish, requested, custom_format };
        self.readers.push(Reader {
            reading,
            begins: begins.filter(|_| !custom_format),
            path,
            has_ended: false,
            was_over: false,
        });
    }

    fn add_subscriber(&mut self, frames: Frames) -> usize {
        let subscriber = self.dispatcher.add(frames);
        let room = *self.random.pick(&[usize::MAX, usize::MAX, 0, 50, 500]);
        self.clients.join(subscriber, room)
    }

    /// The start of a request, and the position that its stream begins with.
    fn start(&mut self, wish: &Wish) -> (Start, Option<String>) {
        let any = self.random.below(self.oracle.events.len().max(1));
        let event = self.oracle.events.get(any);
        match (self.random.below(9), event) {
            (0, _) => (Start::Earliest, None),
            (1 | 2, _) => {
                let count = self.random.below(6);
                // A stream of several topics begins with those of each, and no position. One whose
                // topic has ended begins before the end.
                let is_known =
                    !self.has_several_topics(wish) && !self.oracle.has_ended(wish, self.gone());
                let begins = is_known.then(|| self.before_last(wish, count));
                (Start::Last(count), begins)
            }
            (8, _) => (Start::Latest, None),
            (3 | 4, Some(event)) => (Start::AfterId(event.position.clone()), None),
            (5, Some(event)) => (Start::AfterId(event.id.clone()), None),
            _ => (Start::Tail, None),
        }
    }

    /// How many events are trimmed, according to the log.
    fn gone(&self) -> usize {
        let start = self.hub.counts().span.start.to_string();
        let at = self.oracle.events.iter().rposition(|event| event.position == start);
        at.map_or(0, |at| at + 1)
    }

    fn has_several_topics(&self, wish: &Wish) -> bool {
        let asked = match &wish.asked[..] {
            [] if wish.public => return false,
            [] => &wish.granted,
            asked => asked,
        };
        let distinct: HashSet<_> = asked.iter().collect();
        distinct.len() > 1 && asked.iter().all(|at| self.oracle.is_exact(*at))
    }

    fn before_last(&self, wish: &Wish, count: usize) -> String {
        let events = &self.oracle.events;
        let permitted =
            |at: &usize| events[*at].what != What::End && self.oracle.may_have(wish, &events[*at]);
        let before =
            |at: usize| at.checked_sub(1).map_or(&self.first, |at| &events[at].position).clone();
        match count.checked_sub(1) {
            None => before(events.len()),
            Some(back) => before(
                (self.gone()..events.len())
                    .rev()
                    .filter(permitted)
                    .nth(back)
                    .unwrap_or(self.gone()),
            ),
        }
    }

    /// A topic with events and one without are rejected with the same error.
    fn is_rejected_alike(&mut self, error: &str) {
        let Some((before, rest)) = error.split_once('`') else { return };
        let (_, after) = rest.split_once('`').unwrap();
        let words = format!("{before}{after}");
        assert_eq!(self.refusal.get_or_insert_with(|| words.clone()), &words);
    }

    fn leave(&mut self) {
        if self.readers.is_empty() {
            return;
        }
        let at = self.random.below(self.readers.len());
        let reader = self.readers.swap_remove(at);
        if let Path::Seat(client) = reader.path
            && let Some(subscriber) = self.clients.leave(client)
        {
            self.dispatcher.remove(subscriber);
        }
    }

    fn read_one(&mut self) {
        if !self.readers.is_empty() {
            let (at, times) = (self.random.below(self.readers.len()), 1 + self.random.below(4));
            self.read(at, times);
        }
    }

    /// Reads this many times, and judges the result.
    fn read(&mut self, at: usize, times: usize) {
        if let Path::Seat(client) = self.readers[at].path {
            let client = &mut self.clients.all[client];
            client.room = if times == usize::MAX { times } else { self.random.below(2_000) };
            client
                .subscriber
                .into_iter()
                .for_each(|subscriber| self.dispatcher.writable(subscriber));
            self.drive();
        }
        let gone = self.gone();
        let reader = &mut self.readers[at];
        let had_ended = reader.has_ended;
        let text = match &mut reader.path {
            Path::Entries(subscription) => {
                let items = poll(subscription, times, &mut reader.has_ended);
                items.iter().map(as_text).collect()
            }
            Path::Frames(frames) => {
                let mut read = poll(frames, times, &mut reader.has_ended);
                read.extend(frames.instead_of_heartbeat());
                String::from_utf8(read.concat()).unwrap()
            }
            Path::Seat(client) => self.clients.all[*client].take_whole(),
        };
        if let Some(begins) = reader.begins.take_if(|_| text.contains("id: ")) {
            let id = text.split("id: ").nth(1).unwrap();
            assert!(
                id.starts_with(&begins),
                "the last events are counted from\n{text} and not from {begins}"
            );
        }
        self.oracle.judge(&reader.reading, &text, self.tally);
        let is_over = self.oracle.has_ended(&reader.reading.wish, gone);
        if reader.has_ended && !had_ended && !self.drains {
            assert!(is_over || reader.was_over, "{:?}", reader.reading.wish);
            assert!(!reader.reading.custom_format, "its clients do not learn of the end");
        }
        reader.was_over = is_over;
    }

    fn drive(&mut self) {
        self.dispatcher.collect_wakes();
        let turns = 1 + self.random.below(60);
        for _ in 0..turns {
            if !self.dispatcher.serve_next(&mut self.clients) {
                self.dispatcher.collect_wakes();
            }
        }
    }

    fn any_subscriber(&mut self) -> Option<SubscriberId> {
        let subscribers: Vec<_> =
            self.clients.all.iter().filter_map(|client| client.subscriber).collect();
        (!subscribers.is_empty()).then(|| *self.random.pick(&subscribers))
    }

    fn heartbeat(&mut self) {
        if let Some(subscriber) = self.any_subscriber() {
            self.dispatcher.send_heartbeat(subscriber, 0, &mut self.clients);
        }
    }

    fn expire(&mut self) {
        if self.random.one_in(3)
            && let Some(subscriber) = self.any_subscriber()
        {
            self.dispatcher.expire(subscriber);
        }
    }

    /// An event that may not be seen has no ID.
    fn ask_for_id(&mut self) {
        if self.oracle.events.is_empty() {
            return;
        }
        let wish = self.random.pick(&self.accesses).clone();
        let event = self.random.pick(&self.oracle.events);
        let id = if self.random.one_in(2) { event.id.clone() } else { event.position.clone() };
        let kept = &self.oracle.events[self.gone()..];
        let mut named = kept.iter().filter(|event| event.id == id || event.position == id);
        let seen = named
            .find(|event| self.oracle.may_see(&wish, event))
            .map(|event| event.position.clone());
        let found = self
            .runtime
            .block_on(self.hub.find_id(&id, &access_of(&self.oracle, &wish), None))
            .unwrap();
        assert_eq!(found.map(|position| position.to_string()), seen);
        self.answers += 1;
    }

    fn ask_for_newest(&mut self) {
        let wish = self.random.pick(&self.accesses).clone();
        let mut kept = self.oracle.events[self.gone()..].iter();
        let seen = kept
            .rfind(|event| event.what != What::End && self.oracle.may_see(&wish, event))
            .map(|event| event.position.clone());
        let newest =
            self.runtime.block_on(self.hub.newest(&access_of(&self.oracle, &wish), None)).unwrap();
        assert_eq!(newest.map(|entry| entry.position.to_string()), seen);
        self.answers += 1;
    }
}

fn access(random: &mut Random, oracle: &Oracle) -> Wish {
    let granted = random.some(3, oracle.matchers.len());
    Wish { public: random.one_in(2), granted, asked: Vec::new() }
}

fn matcher(oracle: &Oracle, at: usize) -> TopicMatcher {
    let text = &oracle.matchers[at];
    if oracle.is_exact(at) { exact(text) } else { TopicPattern::new(text).unwrap().into() }
}

fn matchers(oracle: &Oracle, all: &[usize]) -> Vec<TopicMatcher> {
    all.iter().map(|at| matcher(oracle, *at)).collect()
}

fn access_of(oracle: &Oracle, wish: &Wish) -> Access {
    Access::to(Grant::to(matchers(oracle, &wish.granted))).with_public(wish.public)
}

fn request(oracle: &Oracle, wish: &Wish) -> Subscribe {
    let request = match wish.asked[..] {
        [] => Subscribe::to_everything(),
        _ => Subscribe::to_all(matchers(oracle, &wish.asked)),
    };
    request.with_access(access_of(oracle, wish))
}

/// At most this many of the items that are ready.
fn poll<S: Stream + Unpin>(stream: &mut S, times: usize, has_ended: &mut bool) -> Vec<S::Item> {
    let mut items = Vec::new();
    while items.len() < times && !*has_ended {
        match Pin::new(&mut *stream).poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(item)) => items.push(item),
            Poll::Ready(None) => *has_ended = true,
            Poll::Pending => break,
        }
    }
    items
}

/// A delivery as its stream would send it. The reader of an entry has all its fields.
fn as_text(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Position(position) => {
            format!(
                "event: carafe.position\ndata: {{\"position\":\"{position}\"}}\nid: {position}\n\n"
            )
        }
        Delivery::Gap(gap) => {
            format!(
                "event: carafe.gap\ndata: {}\nid: {}\n\n",
                serde_json::to_string(gap).unwrap(),
                gap.resume_after
            )
        }
        Delivery::Entry(entry) => {
            format!(
                "data: {}\nid: {}\n\n",
                entry.publication.event().data().unwrap(),
                entry.position
            )
        }
        Delivery::End(entry) => {
            let json = serde_json::json!({
                "topic": entry.topic().as_str(),
                "outcome": "done",
                "reason": entry.data(),
                "position": entry.position.to_string(),
            });
            format!("event: carafe.end\ndata: {json}\nid: {}\n\n", entry.position)
        }
        other => panic!("{other:?}"),
    }
}

/// The clients of the dispatcher's subscribers. Each takes what it has room for.
#[derive(Default)]
struct Clients {
    all: Vec<Client>,
    /// By subscriber.
    by_subscriber: HashMap<SubscriberId, usize>,
}

struct Client {
    subscriber: Option<SubscriberId>,
    room: usize,
    raw: Vec<u8>,
}

impl Clients {
    fn join(&mut self, subscriber: SubscriberId, room: usize) -> usize {
        let name = self.all.len();
        self.all.push(Client { subscriber: Some(subscriber), room, raw: Vec::new() });
        assert_eq!(
            self.by_subscriber.insert(subscriber, name),
            None,
            "a name is given out while it is in use"
        );
        name
    }

    fn leave(&mut self, client: usize) -> Option<SubscriberId> {
        let subscriber = self.all[client].subscriber.take();
        if let Some(subscriber) = subscriber {
            self.by_subscriber.remove(&subscriber);
        }
        subscriber
    }
}

impl Sink for Clients {
    fn write(&mut self, subscriber: SubscriberId, bytes: &[u8], _events: u32) -> Written {
        let client = &mut self.all[self.by_subscriber[&subscriber]];
        let taken = bytes.len().min(client.room);
        client.room -= if client.room == usize::MAX { 0 } else { taken };
        client.raw.extend_from_slice(&bytes[..taken]);
        Written::Bytes(taken)
    }

    fn ended(&mut self, subscriber: SubscriberId, _failed: bool) {
        self.leave(self.by_subscriber[&subscriber]);
    }
}

impl Client {
    /// The text of the complete chunks.
    fn take_whole(&mut self) -> String {
        let (mut text, mut at) = (String::new(), 0);
        while let Some(line) = self.raw[at..].windows(2).position(|two| two == b"\r\n") {
            let size = std::str::from_utf8(&self.raw[at..at + line]).unwrap();
            let (begins, size) = (at + line + 2, usize::from_str_radix(size, 16).unwrap());
            let Some(chunk) = self.raw.get(begins..begins + size + 2) else { break };
            text += std::str::from_utf8(&chunk[..size]).unwrap();
            at = begins + size + 2;
        }
        self.raw.drain(..at);
        text
    }
}
