//! Short names for what the tests do with a log.

use std::fmt::Debug;
use std::sync::Arc;

use carafe_protocol::{Offset, Position, Topic, TopicMatcher, TopicPattern};
pub use futures_executor::block_on as wait;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};

use crate::{
    Access, Block, BlockLimit, Entry, ExternalId, Find, IdempotencyKey, Log, Publication, Read,
    ReadError,
};

/// As much in one block as the log is willing to give.
pub const NO_LIMIT: BlockLimit = BlockLimit { entries: usize::MAX, bytes: usize::MAX };

/// Runs a test with random inputs. The same seed gives the same inputs.
pub fn check_random<Input: Debug>(
    seed: u64,
    cases: u32,
    input: &impl Strategy<Value = Input>,
    test: impl Fn(Input),
) {
    println!("seed {seed:#x}");
    let config = ProptestConfig {
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    };
    let run = |input| {
        test(input);
        Ok(())
    };
    TestRunner::new(config).run(input, run).unwrap_or_else(|error| panic!("{error}"));
}

pub fn topic(text: &str) -> Topic {
    Topic::new(text).unwrap()
}

pub fn pattern(text: &str) -> TopicMatcher {
    TopicPattern::new(text).unwrap().into()
}

pub fn publication(to: &str, data: &str) -> Publication {
    Publication::new(topic(to), data)
}

pub fn keyed(to: &str, key: &str) -> Publication {
    publication(to, "keyed").with_key(IdempotencyKey::new(key).unwrap())
}

pub fn named(to: &str, id: &str) -> Publication {
    publication(to, "named").with_external_id(ExternalId::new(id).unwrap())
}

pub fn append(log: &impl Log, batch: Vec<Publication>) -> Vec<Position> {
    wait(log.append(batch)).unwrap().iter().map(|appended| appended.position).collect()
}

pub fn append_one(log: &impl Log, publication: Publication) -> Position {
    append(log, vec![publication])[0]
}

/// Waits until history is trimmed to what it may be after what was appended.
pub fn settle(log: &impl Log) {
    append(log, Vec::new());
}

/// An entry `offset` of the log's generation, as another node's log would hand it over.
pub fn supplied(log: &impl Read, offset: Offset, publication: Publication) -> Entry {
    let position = Position { offset, nonce: !0, ..log.span().start };
    Entry { position, time: log.clock().now(), publication }
}

/// Appends to `other` until the log has trimmed something more.
pub fn overflow(log: &impl Log) -> Position {
    let before = log.span().start;
    for _ in 0..1000 {
        append_one(log, publication("other", "filler"));
        if log.span().start != before {
            return log.span().start;
        }
    }
    panic!("a tight log trims before 1000 entries");
}

pub fn read(log: &impl Read, after: Offset, wanted: &[TopicMatcher], limit: BlockLimit) -> Block {
    wait(log.read(after, wanted.to_vec(), limit)).unwrap()
}

/// Reads block by block until one looked as far as the tail.
pub fn read_all(log: &impl Read, after: Offset, wanted: &[TopicMatcher]) -> Vec<Arc<Entry>> {
    try_read_all(log, after, wanted).unwrap()
}

/// The same for a log that may be damaged.
pub fn try_read_all(
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

pub fn data(entries: &[Arc<Entry>]) -> Vec<&str> {
    entries.iter().map(|entry| entry.publication.event().data().unwrap_or_default()).collect()
}

pub fn positions(entries: &[Arc<Entry>]) -> Vec<Position> {
    entries.iter().map(|entry| entry.position).collect()
}

pub fn any() -> [TopicMatcher; 1] {
    [TopicMatcher::any()]
}

pub fn find(log: &impl Read, position: Position) -> Find {
    wait(log.find(position)).unwrap()
}

pub fn before_last(log: &impl Read, count: usize, wanted: &[TopicMatcher]) -> Position {
    wait(log.before_last(count, wanted.to_vec(), Access::all())).unwrap()
}
