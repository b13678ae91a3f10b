//! The log's contract tests run on a log of this crate: a wrapper around the log in memory.

use std::sync::Arc;

use carafe_log::contract::Factory;
use carafe_log::{
    Access, Append, AppendAt, AppendAtError, AppendError, Appended, Block, BlockLimit, BoxFuture,
    Clock, Entry, ExternalId, Find, Followed, Follower, MemoryLimits, MemoryLog, OrderedAnswers,
    OrderedCommit, Publication, Read, ReadError, Span, TopicState,
};
use carafe_protocol::{Generation, Offset, Position, Topic, TopicMatcher};

/// Hands each call on to the log that it wraps.
struct Wrapper(Arc<MemoryLog>);

impl Wrapper {
    fn around(log: MemoryLog) -> Self {
        Self(Arc::new(log))
    }
}

impl Append for Wrapper {
    fn append(&self, batch: Vec<Publication>) -> BoxFuture<'_, Result<Vec<Appended>, AppendError>> {
        self.0.append(batch)
    }
}

impl AppendAt for Wrapper {
    fn append_at(&self, entries: Vec<Entry>) -> BoxFuture<'_, Result<(), AppendAtError>> {
        self.0.append_at(entries)
    }

    fn append_ordered(
        &self,
        commits: Vec<OrderedCommit>,
    ) -> BoxFuture<'_, Result<OrderedAnswers, AppendAtError>> {
        self.0.append_ordered(commits)
    }

    fn note_supplied(&self, up_to: Offset) -> BoxFuture<'_, ()> {
        self.0.note_supplied(up_to)
    }

    fn supplied_up_to(&self) -> Offset {
        self.0.supplied_up_to()
    }
}

impl Read for Wrapper {
    fn clock(&self) -> Clock {
        self.0.clock()
    }

    fn span(&self) -> Span {
        self.0.span()
    }

    fn ended_topics(&self) -> usize {
        self.0.ended_topics()
    }

    fn topic_state(&self, topic: &Topic) -> TopicState {
        self.0.topic_state(topic)
    }

    fn find(&self, position: Position) -> BoxFuture<'_, Result<Find, ReadError>> {
        self.0.find(position)
    }

    fn find_external_id(
        &self,
        id: ExternalId,
        access: Access,
    ) -> BoxFuture<'_, Result<Option<Position>, ReadError>> {
        self.0.find_external_id(id, access)
    }

    fn read(
        &self,
        after: Offset,
        wanted: Vec<TopicMatcher>,
        limit: BlockLimit,
    ) -> BoxFuture<'_, Result<Block, ReadError>> {
        self.0.read(after, wanted, limit)
    }

    fn before_last(
        &self,
        count: usize,
        wanted: Vec<TopicMatcher>,
        access: Access,
    ) -> BoxFuture<'_, Result<Position, ReadError>> {
        self.0.before_last(count, wanted, access)
    }

    fn follow(&self, recent: usize, follower: Follower) -> Followed {
        self.0.follow(recent, follower)
    }
}

struct Wrappers;

impl Factory for Wrappers {
    type Log = Wrapper;

    fn roomy() -> Wrapper {
        Wrapper::around(MemoryLog::default())
    }

    fn supplied() -> Wrapper {
        let limits = MemoryLimits::default();
        Wrapper::around(MemoryLog::with_generation(limits, Generation::new(7)))
    }

    fn tight() -> Wrapper {
        Wrapper::around(MemoryLog::new(MemoryLimits::default().with_entries(8)))
    }
}

carafe_log::contract::tests!(Wrappers);
