//! What every node has to come to, computed from the engine's messages by rules that are written
//! down here once more, without anything of the logs.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carafe_cluster::{Engine, MemoryEngine, first_offset};
use carafe_log::{Commit, Entry, IdempotencyKey, Kind, Publication};
use carafe_protocol::{Generation, Offset, Position};

/// The entries that a node has.
#[derive(Default)]
pub(crate) struct Reference {
    pub(crate) entries: Vec<Expected>,
}

/// An entry. An erased one has no data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) position: Position,
    pub(crate) time: SystemTime,
    pub(crate) topic: String,
    pub(crate) data: Option<String>,
    kind: Kind,
    key: Option<String>,
}

impl Expected {
    /// What a reader sees of an entry.
    pub(crate) fn of(entry: &Entry) -> Self {
        let kind = entry.publication.kind();
        let is_removed = matches!(kind, Kind::Removed(_));
        Self {
            position: entry.position,
            time: entry.time,
            topic: entry.topic().as_str().to_owned(),
            data: (!is_removed).then(|| entry.data().to_owned()),
            kind: if is_removed { Kind::Event } else { kind },
            key: entry.publication.key().map(|key| key.external_id().as_str().to_owned()),
        }
    }
}

impl Expected {
    /// Whether a publication is not stored because of this entry.
    pub(crate) fn is_repeated_by(&self, publication: &Publication) -> bool {
        let has_key =
            |key: &IdempotencyKey| Some(key.external_id().as_str()) == self.key.as_deref();
        let is_end = matches!(self.kind, Kind::End(_)) && self.kind == publication.kind();
        publication.key().map_or(is_end, has_key)
    }
}

impl Reference {
    /// Decides over all messages of an engine, which has trimmed none.
    pub(crate) async fn of(engine: &MemoryEngine, key_window: Duration) -> Self {
        let state = engine.state().await.unwrap();
        assert_eq!(state.first, 1, "the reference needs all messages");
        let mut reference = Self::default();
        for sequence in 1..=state.last {
            let Some(message) = engine.get(sequence).await.unwrap() else { continue };
            let Ok(payload) = message.commit(Commit::FORMAT) else { continue };
            let commit = Commit::decode(payload).unwrap();
            // Entries have whole milliseconds.
            let since = message.time.duration_since(UNIX_EPOCH).unwrap().as_millis();
            let time = UNIX_EPOCH + Duration::from_millis(since as u64);
            reference.apply(state.identity.generation, sequence, time, &commit, key_window);
        }
        reference
    }

    fn apply(
        &mut self,
        generation: Generation,
        sequence: u64,
        time: SystemTime,
        commit: &Commit,
        key_window: Duration,
    ) {
        let mut number = 0;
        for batch in &commit.batches {
            let before = self.entries.clone();
            let mut is_refused = false;
            for publication in batch {
                let offset = first_offset(sequence) + number as u64;
                let position = Position { generation, offset, nonce: commit.nonce(number) };
                number += 1;
                is_refused |= !decide(&mut self.entries, position, time, publication, key_window);
            }
            // A batch that is refused leaves nothing.
            if is_refused {
                self.entries = before;
            }
        }
    }

    /// The entries after an offset.
    pub(crate) fn after(&self, offset: Offset) -> &[Expected] {
        let first = self.entries.partition_point(|entry| entry.position.offset <= offset);
        &self.entries[first..]
    }

    pub(crate) fn by_data(&self) -> HashMap<&str, Vec<&Expected>> {
        let mut found: HashMap<&str, Vec<&Expected>> = HashMap::new();
        for entry in &self.entries {
            if let Some(data) = &entry.data {
                found.entry(data).or_default().push(entry);
            }
        }
        found
    }
}

/// Adds a publication, unless it is known. Returns `false` if it is refused.
fn decide(
    entries: &mut Vec<Expected>,
    position: Position,
    time: SystemTime,
    publication: &Publication,
    key_window: Duration,
) -> bool {
    let topic = publication.topic().as_str();
    let key = publication.key().map(|key| key.external_id().as_str().to_owned());
    // Nodes trim at different places, and all keep at least the window: nothing older decides.
    let is_in_window =
        |entry: &&Expected| time.duration_since(entry.time).unwrap_or_default() < key_window;
    let is_known = key.is_some()
        && entries
            .iter()
            .filter(is_in_window)
            .any(|entry| entry.topic == topic && entry.key == key && entry.data.is_some());
    if is_known {
        return true;
    }
    let kind = publication.kind();
    let end = end_of(entries.iter().filter(|entry| entry.topic == topic)).filter(is_in_window);
    match (kind, end.map(|end| end.kind)) {
        (Kind::End(_), Some(end)) if kind == end => return true,
        (Kind::End(_), Some(_)) => return false,
        (Kind::Event, Some(_)) if !publication.reopens() => return false,
        _ => {}
    }
    if publication.is_erasure() {
        for entry in entries.iter_mut().filter(|entry| entry.topic == topic) {
            erase(entry);
        }
    }
    let data = Some(publication.data().to_owned());
    entries.push(Expected { position, time, topic: topic.to_owned(), data, kind, key });
    true
}

fn erase(entry: &mut Expected) {
    if entry.kind == Kind::Event {
        (entry.data, entry.key) = (None, None);
    }
}

/// The end of a topic, by its entries, if it has ended and was not reopened.
fn end_of<'a>(mut entries: impl DoubleEndedIterator<Item = &'a Expected>) -> Option<&'a Expected> {
    // An event behind an end has reopened the topic: all others are refused.
    let newest = entries.rfind(|entry| matches!(entry.kind, Kind::End(_) | Kind::Event))?;
    (newest.kind != Kind::Event).then_some(newest)
}
