//! What an engine in memory stores.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{EngineError, Identity, Message, MessageId, State, Stored};

/// What becomes of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The message is stored, and its sender is told.
    Stored,
    /// The message is stored, and its sender does not learn of it.
    LostAnswer,
    /// The message is not stored, and its sender does not learn of it.
    LostRequest,
}

/// What an engine stored at one moment.
#[derive(Clone)]
pub struct Snapshot {
    created: SystemTime,
    first: u64,
    last: u64,
    messages: BTreeMap<u64, Kept>,
}

/// When the first engine of each test is created, in seconds since the epoch.
const ORIGIN: u64 = 1_800_000_000;

const PAYLOAD: usize = 1 << 20;
const WINDOW: Duration = Duration::from_secs(120);

pub(super) struct Stream {
    pub(super) exists: bool,
    pub(super) payload: usize,
    pub(super) window: Duration,
    /// By how much its clock is behind the true time, and ahead of it.
    behind: Duration,
    ahead: Duration,
    name: String,
    started: Instant,
    created: SystemTime,
    first: u64,
    last: u64,
    messages: BTreeMap<u64, Kept>,
    ids: HashMap<MessageId, (u64, Instant)>,
}

#[derive(Clone)]
struct Kept {
    stored: Stored,
    /// When it has reached the tails.
    visible: Instant,
}

impl Stream {
    pub(super) fn new(name: &str) -> Self {
        Self {
            exists: true,
            payload: PAYLOAD,
            window: WINDOW,
            behind: Duration::ZERO,
            ahead: Duration::ZERO,
            name: name.to_owned(),
            started: Instant::now(),
            created: UNIX_EPOCH + Duration::from_secs(ORIGIN),
            first: 1,
            last: 0,
            messages: BTreeMap::new(),
            ids: HashMap::new(),
        }
    }

    pub(super) fn state(&self) -> State {
        let identity = Identity::new(&*self.name, self.created);
        let Self { first, last, payload, .. } = *self;
        State { identity, first, last, now: self.clock(), payload, age: None }
    }

    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(ORIGIN) + self.started.elapsed()
    }

    /// What gives messages their time.
    fn clock(&self) -> SystemTime {
        self.now() + self.ahead - self.behind
    }

    pub(super) fn clock_behind(&mut self, by: Duration) {
        (self.behind, self.ahead) = (by, Duration::ZERO);
    }

    pub(super) fn clock_ahead(&mut self, by: Duration) {
        (self.behind, self.ahead) = (Duration::ZERO, by);
    }

    pub(super) fn append(
        &mut self,
        message: &Message,
        visible: Instant,
    ) -> Result<u64, EngineError> {
        if !self.exists {
            return Err(EngineError::Missing);
        }
        if message.payload.len() > self.payload {
            let limit = self.payload;
            return Err(EngineError::Refused(format!("a message may have {limit} bytes")));
        }
        let window = self.window;
        self.ids.retain(|_, (_, stored)| stored.elapsed() < window);
        if let Some((sequence, _)) = self.ids.get(&message.id) {
            return Ok(*sequence);
        }
        Ok(self.store(Some(message), message.payload.clone(), visible))
    }

    pub(super) fn store(
        &mut self,
        message: Option<&Message>,
        payload: Bytes,
        visible: Instant,
    ) -> u64 {
        self.last += 1;
        let stored = Stored {
            sequence: self.last,
            time: self.clock(),
            id: message.map(|message| message.id),
            format: message.map(|message| message.format),
            sent: message.map(|message| message.sent),
            checksum: message.map(|message| message.checksum),
            payload,
        };
        if let Some(id) = stored.id {
            self.ids.insert(id, (self.last, Instant::now()));
        }
        self.messages.insert(self.last, Kept { stored, visible });
        self.last
    }

    pub(super) fn get(&self, sequence: u64) -> Option<Stored> {
        self.messages.get(&sequence).map(|kept| kept.stored.clone())
    }

    pub(super) fn first_from(&self, from: u64) -> Option<Stored> {
        self.messages.range(from..).next().map(|(_, kept)| kept.stored.clone())
    }

    /// The messages from `from` on that have reached the tails, and when the next one will.
    pub(super) fn reached(&self, from: u64, limit: usize) -> (Vec<Stored>, Option<Instant>) {
        let now = Instant::now();
        let mut waiting = self.messages.range(from..).map(|(_, kept)| kept).peekable();
        let mut reached = Vec::new();
        while reached.len() < limit
            && let Some(kept) = waiting.next_if(|kept| kept.visible <= now)
        {
            reached.push(kept.stored.clone());
        }
        (reached, waiting.peek().map(|kept| kept.visible))
    }

    pub(super) fn lose_tail(&mut self, messages: u64) {
        self.last = self.last.saturating_sub(messages);
        self.first = self.first.min(self.last + 1);
        let lost = self.messages.split_off(&(self.last + 1));
        self.ids.retain(|_, (sequence, _)| !lost.contains_key(sequence));
    }

    pub(super) fn recreate(&mut self) {
        // With paused time, both may happen at one moment.
        self.created = self.now().max(self.created) + Duration::from_nanos(1);
        self.delete();
        self.exists = true;
    }

    pub(super) fn delete(&mut self) {
        (self.exists, self.first, self.last) = (false, 1, 0);
        self.messages.clear();
        self.ids.clear();
    }

    pub(super) fn trim(&mut self, first: u64) {
        self.first = self.first.max(first.min(self.last + 1));
        self.messages = self.messages.split_off(&self.first);
    }

    pub(super) fn remove(&mut self, sequence: u64) {
        self.messages.remove(&sequence);
        let oldest = self.messages.keys().next().copied();
        self.first = oldest.unwrap_or(self.last + 1);
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let Self { created, first, last, .. } = *self;
        Snapshot { created, first, last, messages: self.messages.clone() }
    }

    pub(super) fn restore(&mut self, snapshot: &Snapshot) {
        let Snapshot { created, first, last, messages } = snapshot.clone();
        let ids = messages.values().filter_map(|kept| {
            let age = self.clock().duration_since(kept.stored.time);
            let stored = Instant::now().checked_sub(age.unwrap_or_default())?;
            Some((kept.stored.id?, (kept.stored.sequence, stored)))
        });
        self.ids = ids.collect();
        (self.exists, self.created, self.first, self.last) = (true, created, first, last);
        self.messages = messages;
    }
}
