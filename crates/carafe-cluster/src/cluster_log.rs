//! The log of a node: publishes to the engine, and reads from the local log, which the engine
//! fills.

use std::sync::{Arc, Mutex, PoisonError};

use carafe_log::{
    Access, Append, AppendAt, AppendError, Appended, Block, BlockLimit, BoxFuture, Clock,
    DiskUsage, ExternalId, Find, Followed, Follower, Kind, Latest, LatestQuery, Picked,
    Publication, Read, ReadError, Refill, Span, TopicState, WaitingErasures,
};
use carafe_protocol::{Offset, Position, Topic, TopicMatcher};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::catch_up;
use crate::comparison::compare;
use crate::engine::Engine;
use crate::node::Node;
use crate::offsets::{offset_before, sequence_of};
use crate::options::ClusterOptions;
use crate::place::{Divergence, Place, note_applied};
use crate::plan::{PlanError, check_keys};
use crate::publish::Publisher;
use crate::replicate::Replicator;
use crate::shared::Shared;

/// The log of a node. Publications go to the engine, which gives them their order. The node reads
/// them from there into its local log, as all nodes do, and reads from that.
///
/// Three tasks run until the log is closed or dropped: one sends what is published, one follows the
/// engine, and one asks it on behalf of readers whether the node has everything.
///
/// ```
/// use std::sync::Arc;
///
/// use carafe_cluster::{ClusterLog, ClusterOptions, Engine, MemoryEngine};
/// use carafe_log::{Append, MemoryLimits, MemoryLog, Publication, Read};
/// use carafe_protocol::Topic;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = MemoryEngine::new("events");
/// let generation = engine.state().await?.identity.generation;
/// let local = MemoryLog::with_generation(MemoryLimits::default(), generation);
/// let log = ClusterLog::start(Arc::new(engine), local, ClusterOptions::default()).await?;
///
/// let event = Publication::new(Topic::new("orders/7")?, "espresso");
/// let appended = log.append(vec![event]).await?;
/// assert_eq!(log.span().tail, appended[0].position);
/// # Ok(()) }
/// ```
pub struct ClusterLog<L> {
    local: Arc<L>,
    shared: Arc<Shared>,
    /// Emptied by `close`.
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// A node does not start.
///
/// ```
/// use carafe_cluster::{Divergence, StartError};
///
/// let error = StartError::from(Divergence::LostTail { applied: 7, last: 5 });
/// assert!(error.to_string().contains("plan"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The local log cannot be compared with the engine.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The local log is not a part of what the engine has.
    #[error("the log has to be changed first, as `plan` says: {0}")]
    Diverged(#[from] Divergence),
}

impl<L: AppendAt + Append + Read + 'static> ClusterLog<L> {
    /// Starts a node on a local log, which nothing else fills. Returns before the log is filled.
    ///
    /// # Errors
    /// When the engine does not answer, or the [plan](crate::plan) is not to go on with this log.
    pub async fn start(
        engine: Arc<dyn Engine>,
        local: L,
        options: ClusterOptions,
    ) -> Result<Self, StartError> {
        let place = Place::of(&local);
        let found = compare(&*engine, &place).await.map_err(PlanError::from)?;
        found.judgement?;
        check_keys(&found.state, &local)?;
        let local = Arc::new(local);
        let shared = Arc::new(Shared::new(options, &found.state, found.time, place.applied));
        let publisher = Publisher::new(Arc::clone(&engine), Arc::clone(&shared));
        let questions = catch_up::run(Arc::clone(&engine), Arc::clone(&shared), place.generation);
        let replicator = Replicator::new(engine, Arc::clone(&local), Arc::clone(&shared), place);
        let tasks = vec![
            tokio::spawn(publisher.run()),
            tokio::spawn(replicator.run()),
            tokio::spawn(questions),
        ];
        Ok(Self { local, shared, tasks: Mutex::new(tasks) })
    }

    /// A handle that tells how the node is.
    #[must_use]
    pub fn node(&self) -> Node {
        Node(Arc::clone(&self.shared))
    }
}

impl<L: Read> ClusterLog<L> {
    /// Refuses what would take too much memory, by limits of this node. Only here: what the engine
    /// has put in order is applied by every node.
    fn check_limits(&self, batch: &[Publication]) -> Result<(), AppendError> {
        let erasures = batch.iter().filter(|publication| publication.is_erasure()).count();
        let limit = self.shared.options.erasures;
        if erasures > 0 && self.local.waiting_erasures().count + erasures > limit {
            return Err(AppendError::TooManyErasures { limit });
        }
        let ends = batch.iter().filter(|publication| self.is_new_end(publication)).count();
        let limit = self.shared.options.ended_topics;
        if ends > 0 && self.local.ended_topics() + ends > limit {
            return Err(AppendError::TooManyEnded { limit });
        }
        let is_remembered =
            |publication: &&Publication| publication.key().is_some() || publication.is_erasure();
        let keys = batch.iter().filter(is_remembered).count();
        let limit = self.shared.options.remembered_keys;
        if keys > 0 && self.local.remembered_keys() + keys > limit {
            return Err(AppendError::TooManyKeys { limit });
        }
        Ok(())
    }

    /// Whether the log of another node begins at a position, and nothing is missing here up to it:
    /// the messages before it have stored nothing, or are gone.
    fn is_beginning_here(&self, position: Position) -> bool {
        let sequence = sequence_of(position.offset);
        position.nonce == 0
            && position.offset == offset_before(sequence + 1)
            && sequence <= self.shared.applied_sequence()
    }

    /// Whether a publication makes the local log remember one more topic.
    fn is_new_end(&self, publication: &Publication) -> bool {
        matches!(publication.kind(), Kind::End(_) | Kind::Stop)
            && self.local.topic_state(publication.topic()) == TopicState::default()
    }
}

impl<L> ClusterLog<L> {
    fn abort(&self) -> Vec<JoinHandle<()>> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().for_each(JoinHandle::abort);
        std::mem::take(&mut tasks)
    }
}

impl<L> Drop for ClusterLog<L> {
    fn drop(&mut self) {
        self.abort();
    }
}

impl<L: Append + AppendAt + Read> Append for ClusterLog<L> {
    fn append(&self, batch: Vec<Publication>) -> BoxFuture<'_, Result<Vec<Appended>, AppendError>> {
        Box::pin(async move {
            if batch.is_empty() {
                return Ok(Vec::new());
            }
            self.check_limits(&batch)?;
            let now = Instant::now();
            let deadline = now + self.shared.options.answer_within;
            let answer = self.shared.outbox().push(batch, now, deadline)?;
            self.shared.published.notify_one();
            // The sender is dropped when the batch is not going to be answered.
            if let Ok(Ok(reply)) = timeout_at(deadline, answer).await {
                return reply.answer;
            }
            self.shared.count(|counters| counters.unavailable += 1);
            Err(AppendError::Unavailable)
        })
    }

    /// Waits until each publisher is answered, which is not longer than the time within which it
    /// is answered anyway.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.shared.outbox().close(AppendError::Closed);
            let _ = timeout(self.shared.options.answer_within, self.shared.idle()).await;
            for task in self.abort() {
                // It was aborted, or has ended.
                let _ = task.await;
            }
            note_applied(&*self.local, self.shared.progress().applied).await;
            self.local.close().await;
        })
    }
}

impl<L: Read> Read for ClusterLog<L> {
    fn clock(&self) -> Clock {
        self.local.clock()
    }

    fn span(&self) -> Span {
        self.local.span()
    }

    fn disk_usage(&self) -> Option<DiskUsage> {
        self.local.disk_usage()
    }

    fn refill(&self) -> Option<Refill> {
        Some(self.shared.refill())
    }

    fn waiting_erasures(&self) -> WaitingErasures {
        self.local.waiting_erasures()
    }

    fn topic_state(&self, topic: &Topic) -> TopicState {
        self.local.topic_state(topic)
    }

    fn ended_topics(&self) -> usize {
        self.local.ended_topics()
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(async move {
            let caught_up = async { while !self.shared.questions.ask().await {} };
            let within = self.shared.options.answer_within;
            timeout(within, caught_up).await.map_err(|_| ReadError::Behind)
        })
    }

    fn remembered_keys(&self) -> usize {
        self.local.remembered_keys()
    }

    fn lacks_keys(&self) -> bool {
        self.local.lacks_keys()
    }

    fn find(&self, position: Position) -> BoxFuture<'_, Result<Find, ReadError>> {
        Box::pin(async move {
            let found = self.local.find(position).await?;
            if found == Find::Ahead && self.is_beginning_here(position) {
                return Ok(Find::Found);
            }
            let span = self.local.span();
            // The log knows the positions of all entries that it had. Its start is no entry.
            let is_unknown = found == Find::Foreign || position == span.start;
            let is_trimmed = is_unknown && is_before_the_beginning(position, &span);
            Ok(if is_trimmed { Find::Trimmed } else { found })
        })
    }

    fn find_external_id(
        &self,
        id: ExternalId,
        access: Access,
    ) -> BoxFuture<'_, Result<Option<Position>, ReadError>> {
        self.local.find_external_id(id, access)
    }

    fn read(
        &self,
        after: Offset,
        wanted: Vec<TopicMatcher>,
        limit: BlockLimit,
    ) -> BoxFuture<'_, Result<Block, ReadError>> {
        self.local.read(after, wanted, limit)
    }

    fn before_last(
        &self,
        count: usize,
        wanted: Vec<TopicMatcher>,
        access: Access,
    ) -> BoxFuture<'_, Result<Position, ReadError>> {
        self.local.before_last(count, wanted, access)
    }

    fn before(&self, offset: Offset) -> BoxFuture<'_, Result<Position, ReadError>> {
        self.local.before(offset)
    }

    fn latest(&self, query: LatestQuery) -> BoxFuture<'_, Result<Latest, ReadError>> {
        self.local.latest(query)
    }

    fn read_at(
        &self,
        offsets: Vec<Offset>,
        limit: BlockLimit,
    ) -> BoxFuture<'_, Result<Picked, ReadError>> {
        self.local.read_at(offsets, limit)
    }

    fn follow(&self, recent: usize, follower: Follower) -> Followed {
        self.local.follow(recent, follower)
    }
}

/// Whether the engine has removed what followed a position before this node could read it: the
/// beginning of an empty log moves with the engine's, and the log itself does not know that.
///
/// The start of such a log is no entry, and has no nonce. If its first commits have stored nothing,
/// this reports a gap although nothing is missing.
fn is_before_the_beginning(position: Position, span: &Span) -> bool {
    let (start, Some(oldest)) = (span.start, span.oldest) else { return false };
    let beginning = sequence_of(oldest.offset);
    start.nonce == 0
        && position.generation == start.generation
        && position.offset >= start.offset
        && sequence_of(position.offset) + 1 < beginning
}
