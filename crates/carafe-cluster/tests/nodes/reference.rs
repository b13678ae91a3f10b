//! What every node has to come to, computed from the engine's messages by rules that are written
//! down here once more, without anything of the logs.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use carafe_cluster::{Engine, MemoryEngine, Stored, first_offset};
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
    /// All its topics.
    topics: Vec<String>,
    is_private: bool,
    /// Whether it reopens its topics.
    reopens: bool,
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
            key: key_of(&entry.publication),
            topics: topics_of(&entry.publication),
            is_private: entry.publication.is_private(),
            reopens: entry.publication.reopens(),
        }
    }

    fn is_of(&self, topic: &str) -> bool {
        self.topics.iter().any(|of| of == topic)
    }

    /// Whether a publication is not stored because of this entry.
    pub(crate) fn is_repeated_by(&self, publication: &Publication) -> bool {
        let has_key =
            |key: &IdempotencyKey| Some(key.external_id().as_str()) == self.key.as_deref();
        let is_life = matches!(self.kind, Kind::End(_) | Kind::Stop);
        let is_same = is_life && self.kind == publication.kind();
        publication.key().map_or(is_same, has_key)
    }
}

fn key_of(publication: &Publication) -> Option<String> {
    publication.key().map(|key| key.external_id().as_str().to_owned())
}

fn topics_of(publication: &Publication) -> Vec<String> {
    publication.topics().map(|topic| topic.as_str().to_owned()).collect()
}

impl Reference {
    /// Decides over all messages of an engine, which has trimmed none.
    pub(crate) async fn of(engine: &MemoryEngine, key_window: Duration) -> Self {
        assert_eq!(engine.state().await.unwrap().first, 1, "the reference needs all messages");
        Self::of_all(engine, &Archive::default(), key_window).await
    }

    /// Decides over all messages that an engine has or had.
    pub(crate) async fn of_all(
        engine: &MemoryEngine,
        archive: &Archive,
        key_window: Duration,
    ) -> Self {
        let state = engine.state().await.unwrap();
        let mut reference = Self::default();
        for sequence in 1..=state.last {
            let archived = archive.0.get(&sequence).cloned();
            let kept = engine.get(sequence).await.unwrap();
            let Some(message) = kept.or(archived) else { continue };
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

/// The messages that an engine has trimmed.
#[derive(Default)]
pub(crate) struct Archive(BTreeMap<u64, Stored>);

impl Archive {
    /// Takes the messages before one, which the engine is about to trim.
    pub(crate) async fn take(&mut self, engine: &MemoryEngine, first: u64) {
        for sequence in engine.state().await.unwrap().first..first {
            if let Some(message) = engine.get(sequence).await.unwrap() {
                self.0.insert(sequence, message);
            }
        }
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
    let (key, topics) = (key_of(publication), topics_of(publication));
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
    let ends = topics.iter().filter_map(|topic| end_of(entries, topic).filter(is_in_window));
    let ends: Vec<_> = ends.map(|end| end.kind).collect();
    match kind {
        Kind::End(_) if ends.contains(&kind) => return true,
        Kind::End(_) | Kind::Stop if !ends.is_empty() => return false,
        Kind::Event if !publication.reopens() && !ends.is_empty() => return false,
        Kind::Stop if stop_of(entries, topic).filter(is_in_window).is_some() => return true,
        _ => {}
    }
    if publication.is_erasure() {
        entries.iter_mut().filter(|entry| entry.is_of(topic)).for_each(erase);
    }
    entries.push(Expected {
        position,
        time,
        topic: topic.to_owned(),
        data: Some(publication.data().to_owned()),
        kind,
        key,
        topics,
        is_private: publication.is_private(),
        reopens: publication.reopens(),
    });
    true
}

fn erase(entry: &mut Expected) {
    if entry.kind == Kind::Event {
        (entry.data, entry.key) = (None, None);
    }
}

/// The end of a topic, by its entries, if it has ended and was not reopened.
fn end_of<'a>(entries: &'a [Expected], topic: &str) -> Option<&'a Expected> {
    let decides = |entry: &&Expected| matches!(entry.kind, Kind::End(_) | Kind::Stop | Kind::Event);
    // An event behind an end has reopened the topic, or came when the end did not count any more.
    let newest = entries.iter().filter(|entry| entry.is_of(topic)).rfind(decides)?;
    matches!(newest.kind, Kind::End(_)).then_some(newest)
}

/// The request to stop of a topic that has neither ended nor been reopened since.
fn stop_of<'a>(entries: &'a [Expected], topic: &str) -> Option<&'a Expected> {
    let decides = |entry: &&Expected| match entry.kind {
        Kind::End(_) | Kind::Stop => true,
        Kind::Event => entry.reopens,
        _ => false,
    };
    let newest = entries.iter().filter(|entry| entry.is_of(topic)).rfind(decides)?;
    (newest.kind == Kind::Stop).then_some(newest)
}
