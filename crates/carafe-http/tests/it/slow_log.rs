//! A log whose appends a test lets go one by one, as a slow disk does, and which may be behind
//! those of other nodes.

use std::sync::{Arc, Mutex};

use carafe_log::{
    Access, Append, AppendAt, AppendError, Appended, Block, BlockLimit, BoxFuture, Clock, Entry,
    ExternalId, Find, Followed, Follower, MemoryLimits, MemoryLog, Publication, Read, ReadError,
    Span, TopicState,
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
    busy: Mutex<usize>,
    /// What other nodes have; `None` if the log does not catch up with them.
    elsewhere: Mutex<Option<Vec<Entry>>>,
}

impl SlowLog {
    pub(crate) fn new() -> Self {
        Self::on(MemoryLog::default())
    }

    /// The log of a node, and what it gets when it catches up with others.
    pub(crate) fn behind(generation: Generation, elsewhere: Option<Vec<Entry>>) -> Self {
        let log = Self::on(MemoryLog::with_generation(MemoryLimits::default(), generation));
        *log.0.elsewhere.lock().unwrap() = elsewhere;
        log
    }

    fn on(log: MemoryLog) -> Self {
        Self(Arc::new(Held {
            log,
            may_append: Semaphore::new(0),
            batches: Mutex::default(),
            busy: Mutex::default(),
            elsewhere: Mutex::new(Some(Vec::new())),
        }))
    }

    /// Lets so many appends go.
    pub(crate) fn let_go(&self, appends: usize) {
        self.0.may_append.add_permits(appends);
    }

    /// Makes the next appends be rejected, since the log has too much to do.
    pub(crate) fn is_busy(&self, appends: usize) {
        *self.0.busy.lock().unwrap() = appends;
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
            {
                let mut busy = self.0.busy.lock().unwrap();
                if *busy > 0 {
                    *busy -= 1;
                    return Err(AppendError::Busy);
                }
            }
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
