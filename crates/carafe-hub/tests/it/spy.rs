//! A log that is watched while a hub uses it, and can be made to fail.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use carafe_log::{
    Append, AppendError, Appended, Block, BlockLimit, BoxFuture, Find, Followed, Follower, IdempotencyKey,
    MemoryLog, Publication, Read, ReadError, Span, Visible,
};
use carafe_protocol::{Offset, Position, TopicMatcher};

/// A log in memory behind a hub, shared with the test.
#[derive(Clone)]
pub(crate) struct Spy(std::sync::Arc<Watched>);

struct Watched {
    log: MemoryLog,
    reads: AtomicUsize,
    failing: AtomicBool,
}

impl Spy {
    pub(crate) fn on(log: MemoryLog) -> Self {
        Self(Watched { log, reads: AtomicUsize::new(0), failing: AtomicBool::new(false) }.into())
    }

    pub(crate) fn log(&self) -> &MemoryLog {
        &self.0.log
    }

    /// How many blocks were asked for.
    pub(crate) fn reads(&self) -> usize {
        self.0.reads.load(Ordering::SeqCst)
    }

    /// Makes the next block unreadable, once.
    pub(crate) fn fail_next_read(&self) {
        self.0.failing.store(true, Ordering::SeqCst);
    }
}

impl Append for Spy {
    fn append(&self, batch: Vec<Publication>) -> BoxFuture<'_, Result<Vec<Appended>, AppendError>> {
        self.log().append(batch)
    }
}

impl Read for Spy {
    fn span(&self) -> Span {
        self.log().span()
    }

    fn find(&self, position: Position) -> BoxFuture<'_, Result<Find, ReadError>> {
        self.log().find(position)
    }

    fn find_key(&self, key: IdempotencyKey) -> BoxFuture<'_, Result<Option<Position>, ReadError>> {
        self.log().find_key(key)
    }

    fn read(
        &self,
        after: Offset,
        wanted: Vec<TopicMatcher>,
        limit: BlockLimit,
    ) -> BoxFuture<'_, Result<Block, ReadError>> {
        self.0.reads.fetch_add(1, Ordering::SeqCst);
        if self.0.failing.swap(false, Ordering::SeqCst) {
            return Box::pin(std::future::ready(Err(ReadError::Disk("for the test".to_owned()))));
        }
        self.log().read(after, wanted, limit)
    }

    fn before_last(
        &self,
        count: usize,
        wanted: Vec<TopicMatcher>,
        visible: Visible,
    ) -> BoxFuture<'_, Result<Position, ReadError>> {
        self.log().before_last(count, wanted, visible)
    }

    fn follow(&self, recent: usize, follower: Follower) -> Followed {
        self.log().follow(recent, follower)
    }
}
