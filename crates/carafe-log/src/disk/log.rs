//! The public type of the log on disk. It starts the threads, queues appends and dispatches reads.

use std::future::ready;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use carafe_protocol::{Offset, Position, Topic, TopicMatcher};
use futures_channel::oneshot;

use crate::disk::maintain::open::open;
use crate::disk::noted::Noted;
use crate::disk::options::{DiskOptions, OpenError};
use crate::disk::read::external_ids::ExternalIdSearch;
use crate::disk::read::last::LastSearch;
use crate::disk::read::latest::LatestSearch;
use crate::disk::read::pick::MatcherSet;
use crate::disk::state::{DiskShared, State};
use crate::disk::storage::{Folder, FolderLock, Storage};
use crate::disk::write::answers::{AnswerHelper, Outbox};
use crate::disk::write::indexer::Indexer;
use crate::disk::write::queue::{Admitted, Commits, Job, Queue, Work};
use crate::disk::write::rewriter::Rewriter;
use crate::disk::write::writer::Writer;
use crate::placement::check_order;
use crate::readers::{Readers, Turn, read_or_fail};
use crate::wanted::Wanted;
use crate::{
    Access, Append, AppendAt, AppendAtError, AppendError, Appended, Block, BlockLimit, BoxFuture,
    Clock, DiskUsage, Entry, ExternalId, Find, Followed, Follower, Latest, LatestQuery,
    OrderedAnswers, OrderedCommit, Picked, Publication, Read, ReadError, Span, TopicState,
    WaitingErasures,
};

/// A log on disk. Appended entries survive a crash of the process and of the machine.
///
/// An append completes when its entries are on the disk, by `fdatasync`. Appends that arrive during
/// one sync share the next one. When the log is opened, it truncates a torn end, as a crash leaves
/// it. It distinguishes that from damage to synced entries, and does not open a damaged log.
///
/// ```no_run
/// use carafe_log::{Append, DiskLog, DiskOptions, Publication};
/// use carafe_protocol::Topic;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let log = DiskLog::open("/var/lib/carafe", DiskOptions::default().with_bytes(1 << 30))?;
/// log.append(vec![Publication::new(Topic::new("orders")?, "espresso")]).await?;
/// # Ok(()) }
/// ```
pub struct DiskLog {
    pub(crate) shared: Arc<DiskShared>,
    queue: Arc<Queue>,
    outbox: Arc<Outbox>,
    readers: Readers,
    // A thread of its own, so that publishers do not wait for long reads. Looking up a key on the
    // disk takes one or two reads.
    key_readers: Readers,
    pattern_tests: u64,
    writer: Arc<WriterThread>,
    noted: Arc<Noted>,
    failure: Mutex<Option<oneshot::Receiver<String>>>,
    closed: Mutex<Option<oneshot::Receiver<()>>>,
    // Released when the writer has ended, while a reader thread may still finish a turn. `None`
    // with a storage of a test.
    lock: Option<FolderLock>,
    // The last field, so that it is dropped after all others: this completes `closed`.
    _closing: oneshot::Sender<()>,
}

impl DiskLog {
    /// Opens and locks the log in a directory, which is created if it does not exist.
    ///
    /// # Errors
    /// When the directory cannot be used, another process has it open, or the log is damaged.
    pub fn open(path: impl AsRef<Path>, options: DiskOptions) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let locked = Folder::lock(path);
        let (folder, lock) =
            locked.map_err(|error| OpenError::Folder { path: path.to_owned(), error })?;
        let mut log = Self::open_on(Arc::new(folder), options)?;
        log.lock = Some(lock);
        Ok(log)
    }

    /// Opens the log on a storage.
    ///
    /// # Errors
    /// When the storage cannot be read, or the log is damaged.
    pub fn open_on(storage: Arc<dyn Storage>, options: DiskOptions) -> Result<Self, OpenError> {
        Self::open_with(storage, options, Clock::system())
    }

    /// Opens the log on a storage, with another clock.
    ///
    /// # Errors
    /// When the storage cannot be read, or the log is damaged.
    pub fn open_with(
        storage: Arc<dyn Storage>,
        options: DiskOptions,
        clock: Clock,
    ) -> Result<Self, OpenError> {
        // No thread runs before the log is opened: recovery changes files without a lock.
        let opened = open(&storage, &options)?;
        let clock = if options.supplied.is_some() { clock.supplied() } else { clock };
        let room_to = fit(&opened.state, opened.room_to, &options)?;
        let noted = Arc::new(Noted::read(&*storage));
        let shared = Arc::new(DiskShared::new(storage, opened, clock, &options));
        resume_clock(&shared);
        find_lacking_keys(&shared);
        let queue = Arc::new(Queue::new(&options));
        let (failed, failure) = oneshot::channel();
        let (readers, key_readers) =
            (Readers::start(options.readers)?, Readers::start_for_publishers()?);
        let pattern_tests = options.pattern_tests;
        let indexer = Indexer::start(Arc::clone(&shared.storage))?;
        let outbox = Arc::<Outbox>::default();
        let answering = Arc::clone(&outbox);
        let rewriter = Rewriter::start(Arc::clone(&shared), &options)?;
        let own = Arc::clone(&shared);
        let writer = Writer::new(own, options, room_to, indexer, rewriter, answering, failed);
        let taking = Arc::clone(&queue);
        let writer = thread::Builder::new()
            .name("carafe-log-write".into())
            .spawn(move || writer.run(&taking))?;
        let writer = Arc::new(WriterThread(Mutex::new(Some(writer))));
        let failure = Mutex::new(Some(failure));
        let (closing, closed) = oneshot::channel();
        let closed = Mutex::new(Some(closed));
        Ok(Self {
            shared,
            queue,
            outbox,
            readers,
            key_readers,
            pattern_tests,
            writer,
            noted,
            failure,
            closed,
            lock: None,
            _closing: closing,
        })
    }

    /// Keeps only the newest event of each topic that one of the matchers matches, and the newest
    /// one that is public. Older ones are dropped when so many of a segment are superseded that it
    /// is worth to write it again. Their positions stay valid, and readers skip them. Without
    /// matchers, nothing is dropped any more.
    ///
    /// An event stays while one of its topics is not matched, or while its idempotency key is
    /// remembered. So does a private event of several topics. If more than a million topics are
    /// matched, nothing is dropped, and the log warns.
    pub fn compact(&self, matchers: Vec<TopicMatcher>) {
        self.shared.compacted.store(Arc::new(matchers));
    }

    /// Completes with a reason when the disk has failed. The log stores nothing more then. Only the
    /// first future that is requested completes.
    pub fn failure(&self) -> impl Future<Output = String> + Send + use<> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move {
            if let Some(failure) = failure
                && let Ok(reason) = failure.await
            {
                return reason;
            }
            std::future::pending().await
        }
    }

    /// Completes when the log is dropped, all queued appends are stored, and the clean mark is
    /// written. Only the first future that is requested completes.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move {
            if let Some(closed) = closed {
                // Nothing is ever sent; the sender is dropped.
                let _ = closed.await;
            }
        }
    }

    /// Completes the appends of this log on the executor that polls it, until the log is dropped.
    ///
    /// Without it, the thread that writes completes them, and wakes the executor for each. With
    /// many publishers, the two take the processor from each other. An executor that does not poll
    /// it delays the appends. Only the first future that is polled does this; others end at once.
    ///
    /// ```no_run
    /// use carafe_log::{DiskLog, DiskOptions};
    ///
    /// # fn spawn(_: impl Future<Output = ()> + Send + 'static) {}
    /// # fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let log = DiskLog::open("/var/lib/carafe", DiskOptions::default())?;
    /// spawn(log.answering());
    /// # Ok(()) }
    /// ```
    pub fn answering(&self) -> impl Future<Output = ()> + Send + use<> {
        AnswerHelper::new(Arc::clone(&self.outbox))
    }

    /// Queues a job. If necessary, its keys are looked up first, on another thread, while the room
    /// in the queue is already reserved.
    fn take(&self, work: Work) {
        let job = Job::new(work);
        if job.is_looked_up() {
            return self.queue.push(job);
        }
        match self.queue.admit(&job) {
            Ok(admitted) => self.key_readers.push(look_up(Arc::clone(&self.shared), job, admitted)),
            Err(error) => job.refuse(error),
        }
    }

    pub(crate) fn read_with<T: Send + 'static>(
        &self,
        mut read: impl FnMut(&DiskShared) -> Result<Option<T>, ReadError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, ReadError>> {
        let shared = Arc::clone(&self.shared);
        self.readers.run(move || read(&shared))
    }
}

/// Frees allocated space, if segments are smaller now than at the last run.
fn fit(state: &State, room_to: u32, options: &DiskOptions) -> io::Result<u32> {
    let size = options.segment_size().max(state.active.end.at);
    if room_to > size {
        state.active.segment.file.truncate(u64::from(size))?;
    }
    if options.too_coarse() {
        let (segment, history) = (options.segment_size(), options.bytes);
        tracing::warn!(
            segment,
            history,
            "the log keeps less than its limit: a segment is larger than an eighth of it"
        );
    }
    Ok(room_to.min(size))
}

/// If the time cannot be read, the clock starts with the wall clock.
fn resume_clock(shared: &DiskShared) {
    match shared.newest_time() {
        Ok(newest) => newest.into_iter().for_each(|newest| shared.clock.resume(newest)),
        Err(error) => tracing::warn!(%error, "the time of the newest event cannot be read"),
    }
}

/// If the oldest entry cannot be read, nobody knows what was before.
fn find_lacking_keys(shared: &DiskShared) {
    if let Err(error) = shared.find_lacking_keys() {
        tracing::warn!(%error, "the oldest event cannot be read");
        shared.lacks_keys.store(true, Ordering::Relaxed);
    }
}

/// Looks up the keys of a batch in turns, and queues the batch then.
fn look_up(shared: Arc<DiskShared>, job: Job, admitted: Admitted) -> Turn {
    let mut coming = Some((job, admitted));
    Box::new(move || {
        let Some((mut job, admitted)) = coming.take() else { return true };
        match read_or_fail(|| job.look_up(&shared)) {
            Ok(true) => admitted.push(job),
            Ok(false) => coming = Some((job, admitted)),
            Err(error) => {
                tracing::warn!(%error, "idempotency keys cannot be looked up");
                job.refuse(AppendError::Keys(error));
            }
        }
        coming.is_none()
    })
}

/// The thread that writes, until it has ended.
struct WriterThread(Mutex<Option<JoinHandle<()>>>);

impl WriterThread {
    /// Lets the writer store all queued appends and write the clean mark, and waits for it.
    fn finish(&self, queue: &Queue) {
        // Waits for keys that are still being looked up, by a thread that runs meanwhile.
        queue.close();
        // The lock is held while the writer ends: a second call waits, too.
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(writer) = writer.take() {
            let _ = writer.join();
        }
    }
}

impl Drop for DiskLog {
    /// Stores all queued appends and writes the clean mark.
    fn drop(&mut self) {
        // `key_readers` runs until it is dropped, after this.
        self.writer.finish(&self.queue);
        self.outbox.close();
    }
}

impl Append for DiskLog {
    fn append(&self, batch: Vec<Publication>) -> BoxFuture<'_, Result<Vec<Appended>, AppendError>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let looked = self.shared.look_up(&batch, self.shared.clock.now());
            self.take(Work::Publications(batch, looked, reply));
            answer.await.unwrap_or_else(|_| Err(panicked()))
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let (writer, queue) = (Arc::clone(&self.writer), Arc::clone(&self.queue));
            let (done, finished) = oneshot::channel::<()>();
            // A thread of its own: the executor must not wait for the disk.
            let closing = thread::Builder::new().name("carafe-log-close".into()).spawn(move || {
                writer.finish(&queue);
                drop(done);
            });
            if let Err(error) = closing {
                tracing::warn!(%error, "the log is closed only when it is dropped");
            }
            // Nothing is ever sent; the sender is dropped.
            let _ = finished.await;
        })
    }
}

impl AppendAt for DiskLog {
    fn append_at(&self, entries: Vec<Entry>) -> BoxFuture<'_, Result<(), AppendAtError>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.queue.push(Job::new(Work::Entries(entries, reply)));
            answer.await.unwrap_or_else(|_| Err(panicked().into()))
        })
    }

    fn append_ordered(
        &self,
        commits: Vec<OrderedCommit>,
    ) -> BoxFuture<'_, Result<OrderedAnswers, AppendAtError>> {
        Box::pin(async move {
            if commits.is_empty() {
                return Ok(Vec::new());
            }
            // What is before them is known to the writer alone.
            check_order(&commits, 0)?;
            let generation = self.shared.view().segment.header.generation;
            let commits = Commits::of(commits, generation);
            let looked = self.shared.look_up(&commits.publications, commits.earliest());
            let (reply, answer) = oneshot::channel();
            self.take(Work::Ordered(commits, looked, reply));
            answer.await.unwrap_or_else(|_| Err(panicked().into()))
        })
    }

    fn note_supplied(&self, up_to: Offset) -> BoxFuture<'_, ()> {
        let noted = Arc::clone(&self.noted);
        let note = self.read_with(move |shared| Ok(Some(noted.note(up_to, shared))));
        Box::pin(async move {
            let noted = note.await.unwrap_or_else(|error| Err(io::Error::other(error)));
            if let Err(error) = noted {
                tracing::warn!(%error, "it cannot be noted how far the log was supplied");
            }
        })
    }

    fn supplied_up_to(&self) -> Offset {
        self.noted.up_to(&self.shared)
    }
}

fn panicked() -> AppendError {
    AppendError::Failed("the thread that writes has panicked".into())
}

impl Read for DiskLog {
    fn clock(&self) -> Clock {
        self.shared.clock.clone()
    }

    fn span(&self) -> Span {
        self.shared.view().span()
    }

    fn disk_usage(&self) -> Option<DiskUsage> {
        Some(self.shared.state().disk_usage())
    }

    fn waiting_erasures(&self) -> WaitingErasures {
        let view = self.shared.view();
        let Some(erasures) = &view.erasures else { return WaitingErasures::default() };
        WaitingErasures { count: erasures.len(), since: erasures.since() }
    }

    fn ended_topics(&self) -> usize {
        let since = self.shared.trimmed_decides_since();
        self.shared.forget_life(self.shared.view().start().offset, since);
        self.shared.lifecycle().len()
    }

    fn remembered_keys(&self) -> usize {
        let mut remembered = self.shared.remembered();
        // Also while nothing is trimmed.
        self.shared.trimmed_decides_since().into_iter().for_each(|since| remembered.expire(since));
        remembered.len()
    }

    fn lacks_keys(&self) -> bool {
        self.shared.lacks_keys.load(Ordering::Relaxed)
    }

    fn topic_state(&self, topic: &Topic) -> TopicState {
        self.shared.lifecycle().state(topic)
    }

    fn find(&self, position: Position) -> BoxFuture<'_, Result<Find, ReadError>> {
        match self.shared.find_at_once(position) {
            Some(find) => Box::pin(ready(Ok(find))),
            None => self.read_with(move |shared| shared.find(position).map(Some)),
        }
    }

    fn find_external_id(
        &self,
        id: ExternalId,
        access: Access,
    ) -> BoxFuture<'_, Result<Option<Position>, ReadError>> {
        let mut search = ExternalIdSearch::new(&self.shared, id, access);
        if search.finds_nothing() {
            return Box::pin(ready(Ok(None)));
        }
        self.read_with(move |shared| search.step(shared))
    }

    fn read(
        &self,
        after: Offset,
        wanted: Vec<TopicMatcher>,
        limit: BlockLimit,
    ) -> BoxFuture<'_, Result<Block, ReadError>> {
        let asked = MatcherSet::new(Wanted::new(wanted), &self.shared.selections);
        self.read_with(move |shared| shared.read(after, &asked, limit))
    }

    fn before_last(
        &self,
        count: usize,
        wanted: Vec<TopicMatcher>,
        access: Access,
    ) -> BoxFuture<'_, Result<Position, ReadError>> {
        let mut search = LastSearch::new(&self.shared, count, wanted, &access, self.pattern_tests);
        self.read_with(move |shared| search.step(shared))
    }

    fn before(&self, offset: Offset) -> BoxFuture<'_, Result<Position, ReadError>> {
        self.read_with(move |shared| shared.before(offset).map(Some))
    }

    fn latest(&self, query: LatestQuery) -> BoxFuture<'_, Result<Latest, ReadError>> {
        let mut search = LatestSearch::new(&self.shared, query, self.pattern_tests);
        self.read_with(move |shared| search.step(shared))
    }

    fn read_at(
        &self,
        offsets: Vec<Offset>,
        limit: BlockLimit,
    ) -> BoxFuture<'_, Result<Picked, ReadError>> {
        self.read_with(move |shared| shared.read_at(&offsets, limit).map(Some))
    }

    fn follow(&self, recent: usize, follower: Follower) -> Followed {
        self.shared.follow(recent, follower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_can_be_opened_again_while_a_reader_of_the_closed_log_finishes_its_turn() {
        let folder = tempfile::tempdir().unwrap();
        let log = DiskLog::open(folder.path(), DiskOptions::default()).unwrap();
        let held_by_a_reader = Arc::clone(&log.shared);
        assert!(matches!(
            DiskLog::open(folder.path(), DiskOptions::default()),
            Err(OpenError::Folder { error, .. }) if error.kind() == io::ErrorKind::ResourceBusy
        ));
        drop(log);
        drop(DiskLog::open(folder.path(), DiskOptions::default()).unwrap());
        drop(held_by_a_reader);
    }
}
