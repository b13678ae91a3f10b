//! The log in memory. Appending and short reads run on the calling thread, longer reads on reader
//! threads.

mod dropped;
mod erase;
mod limits;
mod search;
mod shared;
mod state;

use std::future::ready;
use std::sync::{Arc, MutexGuard};

use carafe_protocol::{Generation, Offset, Position, Topic, TopicMatcher};

pub use self::limits::MemoryLimits;
use self::search::{BlockRead, ExternalIdSearch, LastSearch, LatestSearch};
use self::shared::MemoryShared;
use self::state::State;
use crate::placement::check_order;
use crate::wanted::{Budget, Wanted};
use crate::{
    Access, Append, AppendAt, AppendAtError, AppendError, Appended, Block, BlockLimit, BoxFuture,
    Clock, Entry, ExternalId, Find, Followed, Follower, Latest, LatestQuery, OrderedAnswers,
    OrderedCommit, Picked, Publication, Read, ReadError, Span, TopicState,
};

/// A log in memory. It keeps the newest entries, within [`MemoryLimits`]. Each log is a new
/// generation, so that clients learn of a restart.
///
/// Appends and short reads complete immediately. Longer reads run on threads of the log, in turns,
/// so that they delay neither publishers nor other readers. Clones are handles to the same log.
///
/// ```
/// use carafe_log::{Append, MemoryLimits, MemoryLog, Publication, Read};
/// use carafe_protocol::Topic;
///
/// # futures_executor::block_on(async {
/// let log = MemoryLog::new(MemoryLimits::default().with_entries(1000));
/// log.append(vec![Publication::new(Topic::new("orders")?, "espresso")]).await?;
/// assert_eq!(log.span().tail.offset, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct MemoryLog {
    shared: Arc<MemoryShared>,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new(MemoryLimits::default())
    }
}

impl MemoryLog {
    /// An empty log with a new generation.
    #[must_use]
    pub fn new(limits: MemoryLimits) -> Self {
        Self::begin(limits, Generation::new(rand::random()), false)
    }

    /// An empty log with a known generation, for what is ordered elsewhere and supplied with its
    /// offsets. A position beyond its tail is [`Find::Ahead`]. Its clock follows the times of what
    /// is supplied, and not the clock of the system.
    #[must_use]
    pub fn with_generation(limits: MemoryLimits, generation: Generation) -> Self {
        Self::begin(limits, generation, true).with_clock(Clock::system())
    }

    /// Sets the offset before the first entry that is supplied to an empty log. What is before is
    /// [trimmed](Find::Trimmed).
    #[must_use]
    pub fn beginning_after(self, offset: Offset) -> Self {
        self.state().start.offset = offset;
        self
    }

    fn begin(limits: MemoryLimits, generation: Generation, supplied: bool) -> Self {
        let start = Position { generation, offset: 0, nonce: 0 };
        let state = State::new(limits, start, supplied);
        Self { shared: Arc::new(MemoryShared::new(state, limits)) }
    }

    /// Replaces the clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        let mut state = self.state();
        state.clock = if state.supplied { clock.supplied() } else { clock };
        drop(state);
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// Appends, and carries out what that erases.
    fn change<T>(&self, append: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let was_erasing = !state.erasures.is_empty();
        let appended = append(&mut state);
        let begins = !was_erasing && !state.erasures.is_empty();
        drop(state);
        if begins {
            erase::carry_out(&self.shared);
        }
        appended
    }

    /// Runs one short turn on the calling thread. If that is not enough, runs further turns on a
    /// reader thread. The last argument of `turn` is whether it may return a partial result.
    fn run<T: Send + 'static>(
        &self,
        mut turn: impl FnMut(&MemoryShared, &mut Budget, bool) -> Result<Option<T>, ReadError>
        + Send
        + 'static,
    ) -> BoxFuture<'static, Result<T, ReadError>> {
        if let Some(answer) = turn(&self.shared, &mut Budget::at_once(), false).transpose() {
            return Box::pin(ready(answer));
        }
        let shared = Arc::clone(&self.shared);
        match self.shared.readers() {
            Ok(readers) => readers.run(move || turn(&shared, &mut Budget::turn(), true)),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }
}

impl Append for MemoryLog {
    fn append(&self, batch: Vec<Publication>) -> BoxFuture<'_, Result<Vec<Appended>, AppendError>> {
        Box::pin(async move { self.change(|state| state.append(batch)) })
    }
}

impl AppendAt for MemoryLog {
    fn append_at(&self, entries: Vec<Entry>) -> BoxFuture<'_, Result<(), AppendAtError>> {
        Box::pin(async move { self.change(|state| state.append_at(entries)) })
    }

    fn append_ordered(
        &self,
        commits: Vec<OrderedCommit>,
    ) -> BoxFuture<'_, Result<OrderedAnswers, AppendAtError>> {
        Box::pin(async move {
            check_order(&commits, self.state().tail().offset)?;
            // The lock is taken for each commit, so that readers get their turn.
            let append = |ordered| self.change(|state| state.append_ordered(ordered));
            commits.into_iter().map(append).collect()
        })
    }

    fn note_supplied(&self, up_to: Offset) -> BoxFuture<'_, ()> {
        let mut state = self.state();
        state.noted = state.noted.max(up_to);
        Box::pin(ready(()))
    }

    fn supplied_up_to(&self) -> Offset {
        let state = self.state();
        state.noted.max(state.tail().offset)
    }
}

impl Read for MemoryLog {
    fn clock(&self) -> Clock {
        self.state().clock.clone()
    }

    fn span(&self) -> Span {
        let state = self.state();
        Span {
            start: state.start,
            oldest: state.after(0).next().map(|entry| entry.position),
            tail: state.tail(),
        }
    }

    fn ended_topics(&self) -> usize {
        let mut state = self.state();
        state.forget_what_decides_no_more();
        state.lifecycle.len()
    }

    fn remembered_keys(&self) -> usize {
        let mut state = self.state();
        state.forget_what_decides_no_more();
        state.remembered.len()
    }

    fn topic_state(&self, topic: &Topic) -> TopicState {
        self.state().lifecycle.state(topic)
    }

    fn find(&self, position: Position) -> BoxFuture<'_, Result<Find, ReadError>> {
        Box::pin(ready(Ok(self.state().find(position))))
    }

    fn find_external_id(
        &self,
        id: ExternalId,
        access: Access,
    ) -> BoxFuture<'_, Result<Option<Position>, ReadError>> {
        let mut search = ExternalIdSearch { id, access, after: 0 };
        self.run(move |shared, _, _| Ok(search.turn(shared)))
    }

    fn read(
        &self,
        after: Offset,
        wanted: Vec<TopicMatcher>,
        limit: BlockLimit,
    ) -> BoxFuture<'_, Result<Block, ReadError>> {
        let read = BlockRead { after, wanted: Wanted::new(wanted), limit };
        self.run(move |shared, budget, partial| read.turn(shared, budget, partial))
    }

    fn before_last(
        &self,
        count: usize,
        wanted: Vec<TopicMatcher>,
        access: Access,
    ) -> BoxFuture<'_, Result<Position, ReadError>> {
        let mut search = LastSearch::new(count, wanted, &access);
        let limit = self.shared.limits.pattern_tests;
        self.run(move |shared, budget, _| search.turn(shared, budget, limit))
    }

    fn before(&self, offset: Offset) -> BoxFuture<'_, Result<Position, ReadError>> {
        Box::pin(ready(Ok(self.state().before(offset))))
    }

    fn latest(&self, query: LatestQuery) -> BoxFuture<'_, Result<Latest, ReadError>> {
        let mut search = LatestSearch::new(query);
        let limit = self.shared.limits.pattern_tests;
        self.run(move |shared, budget, _| search.turn(shared, budget, limit))
    }

    fn read_at(
        &self,
        offsets: Vec<Offset>,
        limit: BlockLimit,
    ) -> BoxFuture<'_, Result<Picked, ReadError>> {
        Box::pin(ready(Ok(self.state().read_at(&offsets, limit))))
    }

    fn follow(&self, recent: usize, follower: Follower) -> Followed {
        let mut state = self.state();
        state.followers.push(follower);
        state.recent(recent)
    }
}
