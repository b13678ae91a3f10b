//! A log whose appends complete when a test allows it.

use std::sync::Arc;

use carafe_log::{
    Access, Append, AppendError, Appended, Block, BlockLimit, BoxFuture, Clock, ExternalId, Find,
    Followed, Follower, MemoryLog, Publication, Read, ReadError, Span,
};
use carafe_protocol::{Offset, Position, TopicMatcher};
use tokio::sync::{Semaphore, watch};

/// A log in memory behind a hub, shared with the test. An event with the data `full` is refused.
#[derive(Clone)]
pub(crate) struct HeldLog(Arc<Held>);

struct Held {
    log: MemoryLog,
    /// The data of all events whose append has begun.
    begun: watch::Sender<Vec<String>>,
    may_end: Semaphore,
}

impl HeldLog {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Held {
            log: MemoryLog::default(),
            begun: watch::Sender::default(),
            may_end: Semaphore::new(0),
        }))
    }

    /// Waits until so many appends have begun, and returns the data of all that have.
    pub(crate) async fn begun(&self, count: usize) -> Vec<String> {
        let mut begun = self.0.begun.subscribe();
        begun.wait_for(|begun| begun.len() >= count).await.unwrap().clone()
    }

    /// Lets so many appends complete.
    pub(crate) fn complete(&self, count: usize) {
        self.0.may_end.add_permits(count);
    }
}

impl Append for HeldLog {
    fn append(&self, batch: Vec<Publication>) -> BoxFuture<'_, Result<Vec<Appended>, AppendError>> {
        Box::pin(async move {
            let data = batch[0].event().data().unwrap_or_default().to_owned();
            let is_full = data == "full";
            // A log in memory stores at once.
            let stored =
                if is_full { Err(AppendError::Full) } else { self.0.log.append(batch).await };
            self.0.begun.send_modify(|begun| begun.push(data));
            self.0.may_end.acquire().await.unwrap().forget();
            stored
        })
    }
}

impl Read for HeldLog {
    fn clock(&self) -> Clock {
        self.0.log.clock()
    }

    fn span(&self) -> Span {
        self.0.log.span()
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
