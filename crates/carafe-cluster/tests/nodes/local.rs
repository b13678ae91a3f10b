//! A local log that survives its node, and that refuses appends when a test asks it to.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use carafe_log::{
    Access, Append, AppendAt, AppendAtError, AppendError, Appended, Block, BlockLimit, BoxFuture,
    Clock, Entry, ExternalId, Find, Followed, Follower, Latest, LatestQuery, MemoryLog,
    OrderedAnswers, OrderedCommit, Picked, Publication, Read, ReadError, Span, TopicState,
};
use carafe_protocol::{Offset, Position, Topic, TopicMatcher};

/// A log in memory. Clones are handles to the same log.
#[derive(Clone)]
pub(crate) struct Local {
    log: MemoryLog,
    refusals: Arc<AtomicUsize>,
}

impl Local {
    pub(crate) fn on(log: MemoryLog) -> Self {
        Self { log, refusals: Arc::default() }
    }

    /// Refuses so many of the next appends.
    pub(crate) fn refuse(&self, appends: usize) {
        self.refusals.store(appends, Ordering::Relaxed);
    }
}

impl Append for Local {
    fn append(&self, _: Vec<Publication>) -> BoxFuture<'_, Result<Vec<Appended>, AppendError>> {
        panic!("a node appends only what the engine has put in order")
    }
}

impl AppendAt for Local {
    fn append_at(&self, _: Vec<Entry>) -> BoxFuture<'_, Result<(), AppendAtError>> {
        panic!("a node appends whole commits")
    }

    fn append_ordered(
        &self,
        commits: Vec<OrderedCommit>,
    ) -> BoxFuture<'_, Result<OrderedAnswers, AppendAtError>> {
        let left = self.refusals.load(Ordering::Relaxed);
        if left > 0 {
            self.refusals.store(left - 1, Ordering::Relaxed);
            return Box::pin(ready(Err(AppendError::Full.into())));
        }
        self.log.append_ordered(commits)
    }
}

impl Read for Local {
    fn clock(&self) -> Clock {
        self.log.clock()
    }

    fn span(&self) -> Span {
        self.log.span()
    }

    fn topic_state(&self, topic: &Topic) -> TopicState {
        self.log.topic_state(topic)
    }

    fn find(&self, position: Position) -> BoxFuture<'_, Result<Find, ReadError>> {
        self.log.find(position)
    }

    fn find_external_id(
        &self,
        id: ExternalId,
        access: Access,
    ) -> BoxFuture<'_, Result<Option<Position>, ReadError>> {
        self.log.find_external_id(id, access)
    }

    fn read(
        &self,
        after: Offset,
        wanted: Vec<TopicMatcher>,
        limit: BlockLimit,
    ) -> BoxFuture<'_, Result<Block, ReadError>> {
        self.log.read(after, wanted, limit)
    }

    fn before_last(
        &self,
        count: usize,
        wanted: Vec<TopicMatcher>,
        access: Access,
    ) -> BoxFuture<'_, Result<Position, ReadError>> {
        self.log.before_last(count, wanted, access)
    }

    fn before(&self, offset: Offset) -> BoxFuture<'_, Result<Position, ReadError>> {
        self.log.before(offset)
    }

    fn latest(&self, query: LatestQuery) -> BoxFuture<'_, Result<Latest, ReadError>> {
        self.log.latest(query)
    }

    fn read_at(
        &self,
        offsets: Vec<Offset>,
        limit: BlockLimit,
    ) -> BoxFuture<'_, Result<Picked, ReadError>> {
        self.log.read_at(offsets, limit)
    }

    fn follow(&self, recent: usize, follower: Follower) -> Followed {
        self.log.follow(recent, follower)
    }
}
