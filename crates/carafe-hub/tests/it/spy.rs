//! A log that counts its reads while a hub uses it, and can be made to fail.

use std::collections::VecDeque;
use std::future::ready;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use carafe_log::{
    Access, Append, AppendError, Appended, Block, BlockLimit, BoxFuture, Clock, Entry, ExternalId,
    Find, Followed, Follower, Latest, LatestQuery, MemoryLog, Picked, Publication, Read, ReadError,
    Span, TopicState,
};
use carafe_protocol::{Offset, Position, Topic, TopicMatcher};
use tokio::sync::Semaphore;

/// A log in memory behind a hub, shared with the test.
#[derive(Clone)]
pub(crate) struct Spy(Arc<Watched>);

struct Watched {
    log: MemoryLog,
    reads: AtomicUsize,
    failing: AtomicBool,
    /// Appends return one position too few.
    short: AtomicBool,
    reading: AtomicUsize,
    most_reading: AtomicUsize,
    /// Each read needs a permit while reads are held.
    may_read: Semaphore,
    held: AtomicBool,
    /// How the log catches up with other nodes.
    catch_up: Mutex<CatchUp>,
    catch_ups: AtomicUsize,
    lag: Arc<Mutex<Lag>>,
    /// What happens after the state of a topic was asked for.
    after_state: Mutex<Option<(Topic, Happening)>>,
}

type Happening = Box<dyn FnOnce() + Send>;

/// The follower of the log, and the entries that are held back from it.
#[derive(Default)]
struct Lag {
    follower: Option<Follower>,
    held: Option<VecDeque<Arc<Entry>>>,
}

type CatchUp = Box<dyn Fn() -> BoxFuture<'static, Result<(), ReadError>> + Send>;

impl Spy {
    pub(crate) fn on(log: MemoryLog) -> Self {
        let none = || AtomicUsize::new(0);
        let watched = Watched {
            log,
            reads: none(),
            failing: AtomicBool::new(false),
            short: AtomicBool::new(false),
            reading: none(),
            most_reading: none(),
            may_read: Semaphore::new(0),
            held: AtomicBool::new(false),
            catch_up: Mutex::new(Box::new(|| Box::pin(ready(Ok(()))))),
            catch_ups: none(),
            lag: Arc::default(),
            after_state: Mutex::default(),
        };
        Self(watched.into())
    }

    pub(crate) fn log(&self) -> &MemoryLog {
        &self.0.log
    }

    /// Reads that were requested.
    pub(crate) fn reads(&self) -> usize {
        self.0.reads.load(Ordering::SeqCst)
    }

    /// The most reads at the same time.
    pub(crate) fn most_reading(&self) -> usize {
        self.0.most_reading.load(Ordering::SeqCst)
    }

    /// Holds all reads from now on.
    pub(crate) fn hold_reads(&self) {
        self.0.held.store(true, Ordering::SeqCst);
    }

    /// Releases this many of the reads that are held.
    pub(crate) fn let_reads_go(&self, count: usize) {
        self.0.may_read.add_permits(count);
    }

    /// Sets how the log catches up with other nodes.
    pub(crate) fn on_catch_up(
        &self,
        catch_up: impl Fn() -> BoxFuture<'static, Result<(), ReadError>> + Send + 'static,
    ) {
        *self.0.catch_up.lock().unwrap() = Box::new(catch_up);
    }

    /// How often the log was asked to catch up.
    pub(crate) fn catch_ups(&self) -> usize {
        self.0.catch_ups.load(Ordering::SeqCst)
    }

    /// Holds entries back from the hub from now on: readers of the log have them before.
    pub(crate) fn hold_entries(&self) {
        self.0.lag.lock().unwrap().held.get_or_insert_default();
    }

    /// Passes this many of the entries on that are held back.
    pub(crate) fn let_entries_go(&self, count: usize) {
        let mut lag = self.0.lag.lock().unwrap();
        let Some(held) = &mut lag.held else { return };
        let entries: Vec<_> = held.drain(..count.min(held.len())).collect();
        lag.pass(&entries);
    }

    /// Passes all entries on, also those that come.
    pub(crate) fn hold_no_entries(&self) {
        let mut lag = self.0.lag.lock().unwrap();
        let entries: Vec<_> = lag.held.take().into_iter().flatten().collect();
        lag.pass(&entries);
    }

    /// Lets something happen right after the state of a topic was asked for, once.
    pub(crate) fn after_state_of(&self, topic: Topic, happens: impl FnOnce() + Send + 'static) {
        *self.0.after_state.lock().unwrap() = Some((topic, Box::new(happens)));
    }

    /// Makes the next read fail, once.
    pub(crate) fn fail_next_read(&self) {
        self.0.failing.store(true, Ordering::SeqCst);
    }

    /// Makes each append return one position too few from now on.
    pub(crate) fn return_too_few_positions(&self) {
        self.0.short.store(true, Ordering::SeqCst);
    }
}

impl Spy {
    /// Counts a read, and holds it or lets it fail as the test wants. Counted before the future is
    /// polled.
    fn watch<'a, T: 'a>(
        &'a self,
        read: impl FnOnce(&'a MemoryLog) -> BoxFuture<'a, Result<T, ReadError>> + Send + 'a,
    ) -> impl Future<Output = Result<T, ReadError>> + Send + 'a {
        let watched = &self.0;
        watched.reads.fetch_add(1, Ordering::SeqCst);
        let fails = watched.failing.swap(false, Ordering::SeqCst);
        if !fails {
            let reading = watched.reading.fetch_add(1, Ordering::SeqCst) + 1;
            watched.most_reading.fetch_max(reading, Ordering::SeqCst);
        }
        async move {
            if fails {
                return Err(ReadError::Disk("for the test".into()));
            }
            if watched.held.load(Ordering::SeqCst) {
                watched.may_read.acquire().await.unwrap().forget();
            }
            let read = read(&watched.log).await;
            watched.reading.fetch_sub(1, Ordering::SeqCst);
            read
        }
    }
}

impl Append for Spy {
    fn append(&self, batch: Vec<Publication>) -> BoxFuture<'_, Result<Vec<Appended>, AppendError>> {
        Box::pin(async move {
            let mut appended = self.log().append(batch).await?;
            if self.0.short.load(Ordering::SeqCst) {
                appended.pop();
            }
            Ok(appended)
        })
    }
}

impl Read for Spy {
    fn clock(&self) -> Clock {
        self.log().clock()
    }

    fn span(&self) -> Span {
        self.log().span()
    }

    fn topic_state(&self, topic: &Topic) -> TopicState {
        let state = self.log().topic_state(topic);
        let happens = self.0.after_state.lock().unwrap().take_if(|(of, _)| of == topic);
        happens.into_iter().for_each(|(_, happens)| happens());
        state
    }

    fn ended_topics(&self) -> usize {
        self.log().ended_topics()
    }

    fn catch_up(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        self.0.catch_ups.fetch_add(1, Ordering::SeqCst);
        (self.0.catch_up.lock().unwrap())()
    }

    fn find(&self, position: Position) -> BoxFuture<'_, Result<Find, ReadError>> {
        self.log().find(position)
    }

    fn find_external_id(
        &self,
        id: ExternalId,
        access: Access,
    ) -> BoxFuture<'_, Result<Option<Position>, ReadError>> {
        self.log().find_external_id(id, access)
    }

    fn read(
        &self,
        after: Offset,
        wanted: Vec<TopicMatcher>,
        limit: BlockLimit,
    ) -> BoxFuture<'_, Result<Block, ReadError>> {
        Box::pin(self.watch(move |log| log.read(after, wanted, limit)))
    }

    fn before_last(
        &self,
        count: usize,
        wanted: Vec<TopicMatcher>,
        access: Access,
    ) -> BoxFuture<'_, Result<Position, ReadError>> {
        self.log().before_last(count, wanted, access)
    }

    fn latest(&self, query: LatestQuery) -> BoxFuture<'_, Result<Latest, ReadError>> {
        self.log().latest(query)
    }

    fn read_at(
        &self,
        offsets: Vec<Offset>,
        limit: BlockLimit,
    ) -> BoxFuture<'_, Result<Picked, ReadError>> {
        Box::pin(self.watch(move |log| log.read_at(offsets, limit)))
    }

    fn follow(&self, recent: usize, follower: Follower) -> Followed {
        let lag = Arc::clone(&self.0.lag);
        lag.lock().unwrap().follower = Some(follower);
        self.log().follow(recent, Box::new(move |entries| lag.lock().unwrap().take(entries)))
    }
}

impl Lag {
    fn take(&mut self, entries: &[Arc<Entry>]) {
        match &mut self.held {
            Some(held) => held.extend(entries.iter().cloned()),
            None => self.pass(entries),
        }
    }

    fn pass(&self, entries: &[Arc<Entry>]) {
        if let Some(follower) = &self.follower
            && !entries.is_empty()
        {
            follower(entries);
        }
    }
}
