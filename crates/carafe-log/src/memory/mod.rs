//! A bounded history in memory.

mod limits;
mod search;
mod state;

use std::collections::HashMap;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use carafe_protocol::{Generation, Offset, Position, TopicMatcher};

pub use self::limits::MemoryLimits;
use self::search::{BlockRead, ExternalIdSearch, LastSearch};
use self::state::{Kept, State};
use crate::readers::Readers;
use crate::wanted::{Budget, Wanted};
use crate::{
    Access, Append, AppendAt, AppendAtError, AppendError, Appended, Block, BlockLimit, BoxFuture,
    Clock, Entry, ExternalId, Find, Followed, Follower, Publication, Read, ReadError, Span,
};

/// Threads that do what takes longer than some tens of microseconds.
const READERS: usize = 2;

/// A log in memory: the newest entries, within [`MemoryLimits`]. A restart begins a new generation.
///
/// What is quickly done completes at once. Reading that takes longer is done by threads of its own,
/// in turns, so that it delays neither publishers nor other readers.
pub struct MemoryLog {
    shared: Arc<MemoryShared>,
}

struct MemoryShared {
    // One lock orders appending, trimming and the followers' calls. Readers hold it only to take
    // some entries out.
    state: Mutex<State>,
    limits: MemoryLimits,
    // They start when they are first needed.
    readers: OnceLock<Result<Readers, String>>,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new(MemoryLimits::default())
    }
}

impl MemoryLog {
    /// An empty log of a new generation.
    #[must_use]
    pub fn new(limits: MemoryLimits) -> Self {
        Self::begin(limits, Generation::new(rand::random()), false)
    }

    /// An empty log of a known generation, for entries that another node supplies with their
    /// offsets: a position beyond its tail may still arrive.
    #[must_use]
    pub fn with_generation(limits: MemoryLimits, generation: Generation) -> Self {
        Self::begin(limits, generation, true)
    }

    fn begin(limits: MemoryLimits, generation: Generation, supplied: bool) -> Self {
        let start = Position { generation, offset: 0, nonce: 0 };
        let state = Mutex::new(State {
            limits,
            clock: Clock::system(),
            supplied,
            start,
            published: Kept::default(),
            of_hub: Kept::default(),
            gone_of_hub: 0,
            keys: HashMap::new(),
            by_external_id: HashMap::new(),
            followers: Vec::new(),
        });
        Self { shared: Arc::new(MemoryShared { state, limits, readers: OnceLock::new() }) }
    }

    /// The same log with another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        self.state().clock = clock;
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// Reads at once, if that takes no time, or else turn by turn on a thread for that. The last
    /// argument of a turn says whether a part of what was asked for will do.
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

impl MemoryShared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A follower that panicked has not touched the entries: they were stored before it was
        // called.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readers(&self) -> Result<&Readers, ReadError> {
        let readers =
            self.readers.get_or_init(|| Readers::start(READERS).map_err(|error| error.to_string()));
        readers.as_ref().map_err(|error| {
            ReadError::Disk(format!("no thread can be started for it: {error}").into())
        })
    }
}

impl Append for MemoryLog {
    fn append(&self, batch: Vec<Publication>) -> BoxFuture<'_, Result<Vec<Appended>, AppendError>> {
        Box::pin(async move { self.state().append(batch) })
    }
}

impl AppendAt for MemoryLog {
    fn append_at(&self, entries: Vec<Entry>) -> BoxFuture<'_, Result<(), AppendAtError>> {
        Box::pin(async move { self.state().append_at(entries) })
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

    fn follow(&self, recent: usize, follower: Follower) -> Followed {
        let mut state = self.state();
        state.followers.push(follower);
        state.recent(recent)
    }
}
