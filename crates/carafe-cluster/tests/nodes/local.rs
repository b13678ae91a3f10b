//! A local log that survives its node, and that refuses appends when a test asks it to.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use carafe_log::{
    Access, Append, AppendAt, AppendAtError, AppendError, Appended, Block, BlockLimit, BoxFuture,
    Clock, Entry, ExternalId, Find, Followed, Follower, Latest, LatestQuery, MemoryLog,
    OrderedAnswers, OrderedCommit, Picked, Publication, Read, ReadError, Span, TopicState,
    WaitingErasures,
};
use carafe_protocol::{Offset, Position, Topic, TopicMatcher};

/// A log in memory. Clones are handles to the same log.
#[derive(Clone)]
pub(crate) struct Local {
    log: MemoryLog,
    /// Appends that succeed before any is refused.
    granted: Arc<AtomicUsize>,
    refusals: Arc<AtomicUsize>,
    lost_answers: Arc<AtomicUsize>,
    panics: Arc<AtomicUsize>,
    waiting_erasures: Arc<AtomicUsize>,
}

impl Local {
    pub(crate) fn on(log: MemoryLog) -> Self {
        let [granted, refusals, lost_answers, panics, waiting_erasures] =
            [(); 5].map(|()| Arc::default());
        Self { log, granted, refusals, lost_answers, panics, waiting_erasures }
    }

    /// Refuses so many of the next appends.
    pub(crate) fn refuse(&self, appends: usize) {
        self.refusals.store(appends, Ordering::Relaxed);
    }

    /// Stores so many appends, and refuses those that follow.
    pub(crate) fn refuse_after(&self, appends: usize) {
        self.granted.store(appends, Ordering::Relaxed);
        self.refuse(usize::MAX);
    }

    /// Stores so many of the next appends, and says that it did not.
    pub(crate) fn lose_answers(&self, appends: usize) {
        self.lost_answers.store(appends, Ordering::Relaxed);
    }

    /// Panics at the next append.
    pub(crate) fn panic(&self) {
        self.panics.store(1, Ordering::Relaxed);
    }

    /// Says that so many erasures are not carried out.
    pub(crate) fn delay_erasures(&self, count: usize) {
        self.waiting_erasures.store(count, Ordering::Relaxed);
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
        assert!(!takes_one(&self.panics), "a test has asked for this panic");
        let refused = || Err(AppendAtError::from(AppendError::Full));
        if !takes_one(&self.granted) && takes_one(&self.refusals) {
            return Box::pin(ready(refused()));
        }
        let is_lost = takes_one(&self.lost_answers);
        Box::pin(async move {
            let answers = self.log.append_ordered(commits).await;
            if is_lost { refused() } else { answers }
        })
    }

    fn note_supplied(&self, up_to: Offset) -> BoxFuture<'_, ()> {
        self.log.note_supplied(up_to)
    }

    fn supplied_up_to(&self) -> Offset {
        self.log.supplied_up_to()
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

    fn ended_topics(&self) -> usize {
        self.log.ended_topics()
    }

    fn remembered_keys(&self) -> usize {
        self.log.remembered_keys()
    }

    fn waiting_erasures(&self) -> WaitingErasures {
        let mut waiting = WaitingErasures::default();
        waiting.count = self.waiting_erasures.load(Ordering::Relaxed);
        waiting
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

/// Takes one from a number of things to come, if there is one.
fn takes_one(left: &AtomicUsize) -> bool {
    left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}
