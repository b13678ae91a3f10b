//! Logs under test, and short names for what the tests do with them.

use std::sync::Arc;

use carafe_log::{
    AppendAt, Block, BlockLimit, Entry, ExternalId, IdempotencyKey, Log, Publication, Read,
    ReadError,
};
use carafe_protocol::{Offset, Position, Topic, TopicMatcher, TopicPattern};
// Runs a future to its end on this thread.
pub(crate) use futures_executor::block_on as wait;

/// Makes the logs of one kind.
pub(crate) trait Factory {
    type Log: Log + AppendAt + 'static;

    /// A log that keeps everything the tests append.
    fn roomy() -> Self::Log;

    /// The same, where another node supplies the entries.
    fn supplied() -> Self::Log;

    /// A log that has trimmed its oldest entries before 1000 small ones were appended.
    fn tight() -> Self::Log;
}

/// As much in one block as the log is willing to give.
pub(crate) const NO_LIMIT: BlockLimit = BlockLimit { entries: usize::MAX, bytes: usize::MAX };

pub(crate) fn topic(text: &str) -> Topic {
    Topic::new(text).unwrap()
}

pub(crate) fn pattern(text: &str) -> TopicMatcher {
    TopicPattern::new(text).unwrap().into()
}

pub(crate) fn publication(to: &str, data: &str) -> Publication {
    Publication::new(topic(to), data)
}

pub(crate) fn keyed(to: &str, key: &str) -> Publication {
    publication(to, "keyed").with_key(IdempotencyKey::new(key).unwrap())
}

pub(crate) fn named(to: &str, id: &str) -> Publication {
    publication(to, "named").with_external_id(ExternalId::new(id).unwrap())
}

pub(crate) fn append(log: &impl Log, batch: Vec<Publication>) -> Vec<Position> {
    wait(log.append(batch)).unwrap().iter().map(|appended| appended.position).collect()
}

pub(crate) fn append_one(log: &impl Log, publication: Publication) -> Position {
    append(log, vec![publication])[0]
}

/// Waits until history is trimmed to what it may be after what was appended.
pub(crate) fn settle(log: &impl Log) {
    append(log, Vec::new());
}

/// An entry `offset` of the log's generation, as another node's log would hand it over.
pub(crate) fn supplied(log: &impl Read, offset: Offset, publication: Publication) -> Entry {
    let position = Position { offset, nonce: !0, ..log.span().start };
    Entry { position, time: log.clock().now(), publication }
}

/// Appends to `other` until the log has trimmed something more.
pub(crate) fn overflow(log: &impl Log) -> Position {
    let before = log.span().start;
    for _ in 0..1000 {
        append_one(log, publication("other", "filler"));
        if log.span().start != before {
            return log.span().start;
        }
    }
    panic!("a tight log trims before 1000 entries");
}

pub(crate) fn read(
    log: &impl Read,
    after: Offset,
    wanted: &[TopicMatcher],
    limit: BlockLimit,
) -> Block {
    wait(log.read(after, wanted.to_vec(), limit)).unwrap()
}

/// Reads block by block until one looked as far as the tail.
pub(crate) fn read_all(log: &impl Read, after: Offset, wanted: &[TopicMatcher]) -> Vec<Arc<Entry>> {
    try_read_all(log, after, wanted).unwrap()
}

/// The same for a log that may be damaged.
pub(crate) fn try_read_all(
    log: &impl Read,
    after: Offset,
    wanted: &[TopicMatcher],
) -> Result<Vec<Arc<Entry>>, ReadError> {
    let (mut entries, mut after) = (Vec::new(), after);
    loop {
        let block = wait(log.read(after, wanted.to_vec(), NO_LIMIT))?;
        entries.extend(block.entries);
        if block.up_to == log.span().tail {
            return Ok(entries);
        }
        assert!(block.up_to.offset > after, "a block looks at least one entry further");
        after = block.up_to.offset;
    }
}

pub(crate) fn data(entries: &[Arc<Entry>]) -> Vec<&str> {
    entries.iter().map(|entry| entry.publication.event().data().unwrap_or_default()).collect()
}

pub(crate) fn positions(entries: &[Arc<Entry>]) -> Vec<Position> {
    entries.iter().map(|entry| entry.position).collect()
}
