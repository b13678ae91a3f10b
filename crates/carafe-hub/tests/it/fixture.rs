//! A hub under test, and short names for what tests do with it.

use carafe_hub::{
    Encoder, Format, Gap, GapReason, Hub, HubLimits, Start, Subscribe, SubscribeError,
    Subscription, event_id,
};
use carafe_log::{AppendAt, Entry, MemoryLimits, MemoryLog, Publication, Read, Span};
use carafe_protocol::{EventType, Generation, Position, Topic, TopicMatcher, TopicPattern};
use futures_util::FutureExt;

use crate::listener::{Item, Listener};
use crate::spy::Spy;

/// A hub on a log in memory that the test can look into.
pub(crate) struct Rig {
    pub(crate) hub: Hub,
    pub(crate) log: Spy,
}

/// A ring that holds only the newest entry, so that nearly everything is read from the log.
pub(crate) fn no_ring() -> HubLimits {
    HubLimits::default()
        .with_ring_bytes(0)
        .with_complex_patterns(100)
        .with_replays(100)
        .with_replays_per_client(100)
}

/// As entries, and as frames in each format.
pub(crate) const FORMATS: [Option<Format>; 3] =
    [None, Some(Format::Plain), Some(Format::Enveloped)];

/// Encodes streams as a protocol adapter may do: events have their publishers' IDs, and what the
/// hub reports itself is a comment.
pub(crate) static EXTERNAL_IDS: Encoder = Encoder::new(
    |entry, block| entry.publication.event().encode_with(&event_id(entry), block),
    |_, block| block.extend_from_slice(b": carafe.expired\n"),
    |gap, block| {
        block.extend_from_slice(format!(": carafe.gap {}\n", gap.to_json()).as_bytes());
    },
);

impl Rig {
    /// The log and the ring keep everything.
    pub(crate) fn roomy() -> Self {
        Self::new(MemoryLimits::default(), HubLimits::default())
    }

    /// The log keeps this many entries, and the ring one.
    pub(crate) fn keeping(entries: usize) -> Self {
        Self::new(MemoryLimits::default().with_entries(entries), no_ring())
    }

    pub(crate) fn new(kept: MemoryLimits, limits: HubLimits) -> Self {
        Self::on(MemoryLog::new(kept), limits)
    }

    /// A node that another one supplies: a position beyond the tail may still arrive.
    pub(crate) fn supplied(kept: MemoryLimits, limits: HubLimits) -> Self {
        Self::on(MemoryLog::with_generation(kept, Generation::new(0xCAFE)), limits)
    }

    pub(crate) fn on(log: MemoryLog, limits: HubLimits) -> Self {
        let log = Spy::on(log);
        Self { hub: Hub::with_limits(log.clone(), limits), log }
    }

    pub(crate) fn span(&self) -> Span {
        self.log.span()
    }

    pub(crate) fn publish(&self, to: &str, data: &str) -> Position {
        publish(&self.hub, publication(to, data))
    }

    /// Publishes numbers to a topic, from zero.
    pub(crate) fn count(&self, to: &str, count: usize) -> Vec<Position> {
        (0..count).map(|number| self.publish(to, &number.to_string())).collect()
    }

    /// The gap of history that is trimmed or foreign.
    pub(crate) fn gap(&self, requested: &impl ToString, reason: GapReason) -> Item {
        let Span { start, oldest, .. } = self.span();
        Item::Gap(Gap::new(requested.to_string(), reason, start).with_oldest(oldest))
    }

    /// The gap of a client that has seen events that this log has lost.
    pub(crate) fn lost(&self, requested: Position, common: Position) -> Item {
        let gap = Gap::new(requested.to_string(), GapReason::Lost, common);
        Item::Gap(gap.with_oldest(self.span().oldest))
    }

    pub(crate) fn listen(&self, request: Subscribe) -> Listener {
        self.listen_in(None, request)
    }

    pub(crate) fn listen_in(&self, format: Option<Format>, request: Subscribe) -> Listener {
        Listener::new(subscribe(&self.hub, request).unwrap(), format)
    }

    /// Appends entries that were ordered elsewhere.
    pub(crate) fn supply(&self, entries: impl IntoIterator<Item = Entry>) {
        at_once(self.log.log().append_at(entries.into_iter().collect())).unwrap();
    }
}

pub(crate) fn publish(hub: &Hub, publication: Publication) -> Position {
    at_once(hub.publish(publication)).unwrap().position
}

pub(crate) fn subscribe(hub: &Hub, request: Subscribe) -> Result<Subscription, SubscribeError> {
    at_once(hub.subscribe(request))
}

/// The result of a future that never waits for a log in memory. It may yield to other tasks.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let polls = (0..1000).find_map(|_| future.as_mut().now_or_never());
    polls.expect("a log in memory answers at once")
}

pub(crate) fn topic(text: &str) -> Topic {
    Topic::new(text).unwrap()
}

pub(crate) fn pattern(text: &str) -> TopicMatcher {
    TopicPattern::new(text).unwrap().into()
}

pub(crate) fn exact(text: &str) -> TopicMatcher {
    topic(text).into()
}

pub(crate) fn publication(to: &str, data: &str) -> Publication {
    Publication::new(topic(to), data)
}

pub(crate) fn event_type(text: &str) -> EventType {
    EventType::new(text).unwrap()
}

pub(crate) fn after(position: Position) -> Start {
    Start::After(position)
}

/// An entry as another node's log delivers it.
pub(crate) fn entry(position: Position, publication: Publication) -> Entry {
    Entry { position, time: std::time::UNIX_EPOCH, publication }
}

/// The data of the received events.
pub(crate) fn data(items: &[Item]) -> Vec<&str> {
    let events = items.iter().filter_map(|items| match items {
        Item::Event(said) => Some(said.data.as_str()),
        Item::Position(_) | Item::Gap(_) => None,
    });
    events.collect()
}
