//! A log whose appends a test lets go one by one, as a slow disk does, and which may be behind
//! those of other nodes.

use std::sync::{Arc, Mutex};

use carafe_log::{
    Access, Append, AppendAt, AppendError, Appended, Block, BlockLimit, BoxFuture, Clock, Entry,
    ExternalId, Find, Followed, Follower, MemoryLimits, MemoryLog, Publication, Read, ReadError,
    Refill, Span, TopicState,
};
use carafe_protocol::{Generation, Offset, Position, Topic, TopicMatcher};
use tokio::sync::Semaphore;

#[derive(Clone)]
pub(crate) struct SlowLog(Arc<Held>);

struct Held {
    log: MemoryLog,
    may_append: Semaphore,
    /// How many events each batch has, in the order of the appends.
    batches: Mutex<Vec<usize>>,
    failing: Mutex<Failing>,
    /// Whether other nodes publish, too.
    is_node: bool,
    /// What other nodes have; `None` if the log does not catch up with them.
    elsewhere: Mutex<Option<Vec<Entry>>>,
}

/// After some appends, some fail.
struct Failing {
    after: usize,
    count: usize,
    error: AppendError,
}

impl Failing {
    fn next(&mut self) -> Result<(), AppendError> {
        if self.after > 0 {
            self.after -= 1;
            return Ok(());
        }
        if self.count == 0 {
            return Ok(());
        }
        self.count -= 1;
        Err(self.error.clone())
    }
}

impl SlowLog {
    pub(crate) fn new() -> Self {
        Self::on(MemoryLog::default(), None)
    }

    /// The log of a node, and what it gets when it catches up with others.
    pub(crate) fn behind(generation: Generation, elsewhere: Option<Vec<Entry>>) -> Self {
        let log = MemoryLog::with_generation(MemoryLimits::default(), generation);
        Self::on(log, Some(elsewhere))
    }

    fn on(log: MemoryLog, elsewhere: Option<Option<Vec<Entry>>>) -> Self {
        Self(Arc::new(Held {
            log,
            may_append: Semaphore::new(0),
            batches: Mutex::default(),
            failing: Mutex::new(Failing { after: 0, count: 0, error: AppendError::Busy }),
            is_node: elsewhere.is_some(),
            elsewhere: Mutex::new(elsewhere.unwrap_or_else(|| Some(Vec::new()))),
        }))
    }

    /// Lets so many appends go.
    pub(crate) fn let_go(&self, appends: usize) {
        self.0.may_append.add_permits(appends);
    }

    /// Lets no append go any more that is not begun.
    pub(crate) fn hold(&self) {
        self.0.may_append.forget_permits(usize::MAX);
    }

    /// Makes the next appends be rejected, since the log has too much to do.
    pub(crate) fn is_busy(&self, appends: usize) {
        self.fail_after(0, appends, &AppendError::Busy);
    }

    /// Makes so many appends fail after others that do not.
    pub(crate) fn fail_after(&self, after: usize, count: usize, error: &AppendError) {
        *self.0.failing.lock().unwrap() = Failing { after, count, error: error.clone() };
    }

    /// How many events each batch has that was begun.
    pub(crate) fn batches(&self) -> Vec<usize> {
        self.0.batches.lock().unwrap().clone()
    }
}

impl Append for SlowLog {
    fn append(&self, batch: Vec<Publication>) -> BoxFuture<'_, Result<Vec<Appended>, AppendError>> {
        Box::pin(async move {
            self.0.batches.lock().unwrap().push(batch.len());
            self.0.may_append.acquire().await.unwrap().forget();
            self.0.failing.lock().unwrap().next()?;
            self.0.log.append(batch).await
        })
    }
}

impl Read for SlowLog {
    fn clock(&self) -> Clock {
        self.0.log.clock()
    }

    fn span(&self) -> Span {
        self.0.log.span()
    }

    fn topic_state(&self, topic: &Topic) -> TopicState {
        self.0.log.topic_state(topic)
    }

    fn ended_topics(&self) -> usize {
        self.0.log.ended_topics()
    }

    fn refill(&self) -> Option<Refill> {
        self.0.is_node.then_some(Refill { after: 0, age: None })
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(async {
            let elsewhere = self.0.elsewhere.lock().unwrap().as_mut().map(std::mem::take);
            let entries = elsewhere.ok_or(ReadError::Behind)?;
            self.0.log.append_at(entries).await.unwrap();
            Ok(())
        })
    }

    fn find(&self, position: Position) -> BoxFuture<'_, Result<Find, ReadError>> {
        self.0.log.find(position)
    }

    fn find_external_id(
        &self,
        id: ExternalId,
        access: Access,
    ) -> BoxFuture<'_, Result<Option<Position>, ReadError>> {
        self.0.log.find_external_id(id, access)
    }

    fn read(
        &self,
        after: Offset,
        wanted: Vec<TopicMatcher>,
        limit: BlockLimit,
    ) -> BoxFuture<'_, Result<Block, ReadError>> {
        self.0.log.read(after, wanted, limit)
    }

    fn before_last(
        &self,
        count: usize,
        wanted: Vec<TopicMatcher>,
        access: Access,
    ) -> BoxFuture<'_, Result<Position, ReadError>> {
        self.0.log.before_last(count, wanted, access)
    }

    fn follow(&self, recent: usize, follower: Follower) -> Followed {
        self.0.log.follow(recent, follower)
    }
}
