//! The clients of a dispatcher's subscribers: each takes what it has room for, as a driver's
//! sockets do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use carafe_hub::{Format, Sink, SubscriberId, Tick, Written};
use carafe_protocol::{Decoder, HEARTBEAT, Offset, Position, Received, ReceivedEvent};

use crate::listener::Item;

/// What a client receives, in the order of its bytes.
#[derive(Debug, PartialEq)]
pub(crate) enum Sent {
    Item(Item),
    Heartbeat,
    HeartbeatEvent(Position),
    Expired(Position),
    End,
}

impl Sent {
    /// The offset of an event.
    fn event(&self) -> Option<Offset> {
        match self {
            Self::Item(Item::Event(said)) if !said.is_report() => Some(said.position.offset),
            _ => None,
        }
    }
}

/// The connected clients.
#[derive(Default)]
pub(crate) struct Clients {
    pub(crate) now: Tick,
    /// The subscribers to which something was written, in that order.
    pub(crate) served: Vec<SubscriberId>,
    /// When something was last written, or a client was added.
    pub(crate) received_at: Tick,
    open: BTreeMap<SubscriberId, Client>,
    left: Vec<SubscriberId>,
    /// Streams that ended because their history could not be read, or was erased.
    pub(crate) failed: usize,
    /// The events that were erased, and how often something was.
    erased: BTreeSet<Offset>,
    erasures: usize,
}

pub(crate) struct Client {
    format: Format,
    /// Bytes that the client takes before it has to be given room again.
    pub(crate) room: usize,
    /// Its connection is closed, which the next write shows.
    pub(crate) is_gone: bool,
    /// Bytes that it was offered and has not taken.
    rest: Vec<u8>,
    /// The events in the rest, and after how many of its bytes they are complete.
    unfinished: Vec<(usize, Offset)>,
    /// The erasures that had come when the rest was first offered.
    erasures: usize,
    /// Events of the last write, which it has not taken completely.
    events_begun: u32,
    /// Since when it has not taken everything.
    blocked_since: Option<Tick>,
    decoder: Decoder,
    received: Vec<Sent>,
}

impl Clients {
    pub(crate) fn join(&mut self, subscriber: SubscriberId, format: Format, room: usize) {
        self.received_at = self.now;
        let client = Client {
            format,
            room,
            is_gone: false,
            rest: Vec::new(),
            unfinished: Vec::new(),
            erasures: 0,
            events_begun: 0,
            blocked_since: None,
            decoder: Decoder::new(),
            received: Vec::new(),
        };
        assert!(
            self.open.insert(subscriber, client).is_none(),
            "a name is given out while it is in use"
        );
    }

    pub(crate) fn leave(&mut self, subscriber: SubscriberId) {
        self.open.remove(&subscriber).unwrap();
    }

    /// These events, and no others, are erased now.
    pub(crate) fn erase(&mut self, erased: BTreeSet<Offset>) {
        self.erased = erased;
        self.erasures += 1;
    }

    pub(crate) fn get(&self, subscriber: SubscriberId) -> &Client {
        &self.open[&subscriber]
    }

    pub(crate) fn get_mut(&mut self, subscriber: SubscriberId) -> &mut Client {
        self.open.get_mut(&subscriber).unwrap()
    }

    pub(crate) fn subscribers(&self) -> impl Iterator<Item = SubscriberId> {
        self.open.keys().copied()
    }

    /// The clients that have disconnected or ended since the last call.
    pub(crate) fn take_left(&mut self) -> Vec<SubscriberId> {
        std::mem::take(&mut self.left)
    }

    /// What was received since the last call. Bytes count when they are first offered, whenever
    /// they are taken.
    pub(crate) fn take_received(&mut self) -> Vec<(SubscriberId, Vec<Sent>)> {
        let telling = self.open.iter_mut().filter(|(_, client)| !client.received_nothing());
        telling.map(|(subscriber, client)| (*subscriber, client.take_received())).collect()
    }
}

impl Sink for Clients {
    fn write(&mut self, subscriber: SubscriberId, bytes: &[u8], events: u32) -> Written {
        assert!(!self.left.contains(&subscriber), "written to one that has left");
        self.served.push(subscriber);
        self.received_at = self.now;
        let client = self.open.get_mut(&subscriber).expect("the subscriber is open");
        if client.is_gone {
            self.left.push(subscriber);
            return Written::Gone;
        }
        let is_erased = |(_, offset): &(usize, Offset)| self.erased.contains(offset);
        assert!(!client.unfinished.iter().any(is_erased), "the rest of an erased event is sent");
        if client.rest.is_empty() {
            client.erasures = self.erasures;
        }
        Written::Bytes(client.take(bytes, events, self.now))
    }

    fn ended(&mut self, subscriber: SubscriberId, failed: bool) {
        let client = &self.open[&subscriber];
        let may_be_cut = failed && client.erasures < self.erasures;
        assert!(client.rest.is_empty() || may_be_cut, "an end before all was taken");
        self.failed += usize::from(failed);
        self.left.push(subscriber);
    }
}

impl Client {
    /// Whether it has received nothing since the last call of `take_received`.
    pub(crate) fn received_nothing(&self) -> bool {
        self.received.is_empty()
    }

    pub(crate) fn take_received(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.received)
    }

    pub(crate) fn blocked_since(&self) -> Option<Tick> {
        self.blocked_since
    }

    fn take(&mut self, bytes: &[u8], events: u32, now: Tick) -> usize {
        assert!(!bytes.is_empty(), "nothing is written");
        let offered = bytes.strip_prefix(&self.rest[..]).expect("what was begun is finished first");
        let was_blocked = self.blocked_since.is_some();
        self.receive(offered, self.rest.len());
        assert_eq!(events, self.events_begun, "the events of a write are those it completes");
        let taken = bytes.len().min(self.room);
        self.room -= if self.room == usize::MAX { 0 } else { taken };
        self.rest = bytes[taken..].to_vec();
        self.unfinished.retain(|(end, _)| *end > taken);
        self.unfinished.iter_mut().for_each(|(end, _)| *end -= taken);
        if self.rest.is_empty() {
            self.events_begun = 0;
        }
        match (self.rest.is_empty(), was_blocked && taken == 0) {
            (true, _) => self.blocked_since = None,
            (false, false) => self.blocked_since = Some(now),
            (false, true) => {}
        }
        taken
    }

    /// Decodes whole chunks, as strictly as the strictest client does. So many bytes come before
    /// them.
    fn receive(&mut self, mut chunks: &[u8], before: usize) {
        let all = before + chunks.len();
        while !chunks.is_empty() {
            assert_ne!(self.received.last(), Some(&Sent::End), "something after the end");
            let ends =
                chunks.windows(2).position(|two| two == b"\r\n").expect("a line with the size");
            let line = std::str::from_utf8(&chunks[..ends]).unwrap();
            let size = usize::from_str_radix(line, 16).unwrap();
            assert_eq!(line, format!("{size:x}"));
            let (block, after) = chunks[ends + 2..].split_at(size);
            chunks = after.strip_prefix(b"\r\n").expect("a chunk ends with a line's end");
            let known = self.received.len();
            self.receive_block(block);
            let events = self.received[known..].iter().filter_map(Sent::event);
            self.unfinished.extend(events.map(|offset| (all - chunks.len(), offset)));
        }
    }

    pub(crate) fn receive_block(&mut self, mut block: &[u8]) {
        match block {
            b"" => return self.received.push(Sent::End),
            HEARTBEAT => return self.received.push(Sent::Heartbeat),
            _ => assert!(block.ends_with(b"\n\n"), "a chunk holds whole frames"),
        }
        while let Some(received) = self.decoder.decode(&mut block).unwrap() {
            let received = match received {
                Received::Event(event) => self.client_event(event),
                Received::Retry(_) | Received::Comment(_) => panic!("{received:?}"),
            };
            self.received.push(received);
        }
    }

    fn client_event(&mut self, event: ReceivedEvent) -> Sent {
        if event.event_type == "carafe.expired" {
            assert_eq!(event.data, format!("{{\"position\":\"{}\"}}", event.last_event_id));
            return Sent::Expired(event.last_event_id.parse().unwrap());
        }
        if event.event_type == "carafe.heartbeat" {
            assert_eq!(event.data, format!("{{\"position\":\"{}\"}}", event.last_event_id));
            return Sent::HeartbeatEvent(event.last_event_id.parse().unwrap());
        }
        let items = Item::of(event, self.format);
        let is_event = matches!(&items, Item::Event(fields) if !fields.is_report());
        self.events_begun += u32::from(is_event);
        Sent::Item(items)
    }
}

/// Counts its wakes.
#[derive(Default)]
pub(crate) struct WakeCounter(AtomicUsize);

impl WakeCounter {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let wakes = Arc::new(Self::default());
        (Arc::clone(&wakes), wakes.into())
    }

    /// How often it was called since the last call.
    pub(crate) fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

impl Wake for WakeCounter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
