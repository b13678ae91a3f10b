//! The clients of a dispatcher's subscribers: each takes what it has room for, as a driver's
//! sockets do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use carafe_hub::{Format, Sink, SubscriberId, Tick, Written};
use carafe_protocol::{Decoder, HEARTBEAT, Position, Received, ReceivedEvent};

use crate::listener::Heard;

/// What a client is told, in the order of its bytes.
#[derive(Debug, PartialEq)]
pub(crate) enum Told {
    Heard(Heard),
    Heartbeat,
    Expired(Position),
    End,
}

/// The clients that are there.
#[derive(Default)]
pub(crate) struct Clients {
    pub(crate) now: Tick,
    /// The seats to which something was written, in that order.
    pub(crate) served: Vec<SubscriberId>,
    /// When something was last written, or somebody came.
    pub(crate) told_at: Tick,
    open: BTreeMap<SubscriberId, Client>,
    left: Vec<SubscriberId>,
    /// How many have ended because their history could not be read.
    pub(crate) failed: usize,
}

pub(crate) struct Client {
    format: Format,
    /// How many bytes it takes before it has to be given room again.
    pub(crate) room: usize,
    /// Its connection is broken, which the next write shows.
    pub(crate) is_gone: bool,
    /// What it was offered and has not taken.
    rest: Vec<u8>,
    /// Since when it has not taken all.
    blocked_since: Option<Tick>,
    decoder: Decoder,
    told: Vec<Told>,
}

impl Clients {
    pub(crate) fn join(&mut self, seat: SubscriberId, format: Format, room: usize) {
        self.told_at = self.now;
        let client = Client {
            format,
            room,
            is_gone: false,
            rest: Vec::new(),
            blocked_since: None,
            decoder: Decoder::new(),
            told: Vec::new(),
        };
        assert!(self.open.insert(seat, client).is_none(), "a name is given out while it is in use");
    }

    pub(crate) fn leave(&mut self, seat: SubscriberId) {
        self.open.remove(&seat).unwrap();
    }

    pub(crate) fn get(&self, seat: SubscriberId) -> &Client {
        &self.open[&seat]
    }

    pub(crate) fn get_mut(&mut self, seat: SubscriberId) -> &mut Client {
        self.open.get_mut(&seat).unwrap()
    }

    pub(crate) fn seats(&self) -> impl Iterator<Item = SubscriberId> {
        self.open.keys().copied()
    }

    /// Those that have gone or ended since this was last asked.
    pub(crate) fn take_left(&mut self) -> Vec<SubscriberId> {
        std::mem::take(&mut self.left)
    }

    /// What was told since this was last asked. It is decided when it is first offered, whenever it
    /// is taken.
    pub(crate) fn take_told(&mut self) -> Vec<(SubscriberId, Vec<Told>)> {
        let telling = self.open.iter_mut().filter(|(_, client)| !client.is_untold());
        telling.map(|(seat, client)| (*seat, client.take_told())).collect()
    }
}

impl Sink for Clients {
    fn write(&mut self, seat: SubscriberId, bytes: &[u8]) -> Written {
        assert!(!self.left.contains(&seat), "written to one that has left");
        self.served.push(seat);
        self.told_at = self.now;
        let client = self.open.get_mut(&seat).expect("written to nobody");
        if client.is_gone {
            self.left.push(seat);
            return Written::Gone;
        }
        Written::Bytes(client.take(bytes, self.now))
    }

    fn ended(&mut self, seat: SubscriberId, failed: bool) {
        let client = &self.open[&seat];
        assert!(client.rest.is_empty(), "an end before all was taken");
        self.failed += usize::from(failed);
        self.left.push(seat);
    }
}

impl Client {
    /// Whether it was told nothing since it was last asked what it was told.
    pub(crate) fn is_untold(&self) -> bool {
        self.told.is_empty()
    }

    pub(crate) fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    pub(crate) fn blocked_since(&self) -> Option<Tick> {
        self.blocked_since
    }

    fn take(&mut self, bytes: &[u8], now: Tick) -> usize {
        assert!(!bytes.is_empty(), "nothing is written");
        let offered = bytes.strip_prefix(&self.rest[..]).expect("what was begun is finished first");
        let was_blocked = self.blocked_since.is_some();
        self.hear(offered);
        let taken = bytes.len().min(self.room);
        self.room -= if self.room == usize::MAX { 0 } else { taken };
        self.rest = bytes[taken..].to_vec();
        match (self.rest.is_empty(), was_blocked && taken == 0) {
            (true, _) => self.blocked_since = None,
            (false, false) => self.blocked_since = Some(now),
            (false, true) => {}
        }
        taken
    }

    /// Takes whole chunks apart, as strictly as the strictest client does.
    fn hear(&mut self, mut chunks: &[u8]) {
        while !chunks.is_empty() {
            assert_ne!(self.told.last(), Some(&Told::End), "something after the end");
            let ends =
                chunks.windows(2).position(|two| two == b"\r\n").expect("a line with the size");
            let line = std::str::from_utf8(&chunks[..ends]).unwrap();
            let size = usize::from_str_radix(line, 16).unwrap();
            assert_eq!(line, format!("{size:x}"));
            let (block, after) = chunks[ends + 2..].split_at(size);
            chunks = after.strip_prefix(b"\r\n").expect("a chunk ends with a line's end");
            self.hear_block(block);
        }
    }

    pub(crate) fn hear_block(&mut self, mut block: &[u8]) {
        match block {
            b"" => return self.told.push(Told::End),
            HEARTBEAT => return self.told.push(Told::Heartbeat),
            _ => assert!(block.ends_with(b"\n\n"), "a chunk holds whole frames"),
        }
        while let Some(received) = self.decoder.decode(&mut block).unwrap() {
            let told = match received {
                Received::Event(event) => self.told_of(event),
                Received::Retry(_) | Received::Comment(_) => panic!("{received:?}"),
            };
            self.told.push(told);
        }
    }

    fn told_of(&self, event: ReceivedEvent) -> Told {
        if event.event_type == "carafe.expired" {
            assert_eq!(event.data, "");
            return Told::Expired(event.last_event_id.parse().unwrap());
        }
        Told::Heard(Heard::of(event, self.format))
    }
}

/// Counts how often it is rung.
#[derive(Default)]
pub(crate) struct Bell(AtomicUsize);

impl Bell {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let bell = Arc::new(Self::default());
        (Arc::clone(&bell), bell.into())
    }

    /// How often it was rung since this was last asked.
    pub(crate) fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
