//! The writer thread. It commits all jobs that arrived while it synced the previous commit. It
//! alone changes the segments.

use std::io;
use std::sync::Arc;

use futures_channel::oneshot;
use rustix::io::Errno;

use crate::clock_reading::Reading;
use crate::codec::length;
use crate::disk::format::clean_mark::write_clean_mark;
use crate::disk::format::commit::{Commit, CommitEnd};
use crate::disk::format::header::Header;
use crate::disk::format::index::milliseconds;
use crate::disk::options::DiskOptions;
use crate::disk::segment::file::Segment;
use crate::disk::segment::sealed::Sealed;
use crate::disk::state::{Active, DiskShared, State};
use crate::disk::storage::not_full;
use crate::disk::write::ages::Ages;
use crate::disk::write::answers::Outbox;
use crate::disk::write::indexer::Indexer;
use crate::disk::write::key_reading::KeyReading;
use crate::disk::write::order::Ordered;
use crate::disk::write::queue::{Job, Queue};
use crate::disk::write::rewriter::Rewriter;
use crate::panics::caught;
use crate::{AppendError, DiskError, Entry};

pub(crate) struct Writer {
    pub(crate) shared: Arc<DiskShared>,
    pub(crate) options: DiskOptions,
    pub(crate) ages: Ages,
    pub(crate) key_reading: KeyReading,
    indexer: Indexer,
    rewriter: Rewriter,
    outbox: Arc<Outbox>,
    /// The size up to which space is allocated for the active segment.
    pub(crate) room_to: u32,
    /// Whether a part of a rejected commit may follow the last whole one.
    unfinished: bool,
    /// A segment that could be neither created nor removed. The next segment that is created
    /// replaces it.
    abandoned: Option<String>,
    failed: Option<DiskError>,
    failure: Option<oneshot::Sender<String>>,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<DiskShared>,
        options: DiskOptions,
        room_to: u32,
        indexer: Indexer,
        rewriter: Rewriter,
        outbox: Arc<Outbox>,
        failure: oneshot::Sender<String>,
    ) -> Self {
        let ages = Ages::new(options.age, shared.supplied, shared.clock.reading());
        Self {
            shared,
            options,
            ages,
            key_reading: KeyReading::default(),
            indexer,
            rewriter,
            outbox,
            room_to,
            unfinished: false,
            abandoned: None,
            failed: None,
            failure: Some(failure),
        }
    }

    /// Runs until the queue is closed. After a panic it is unknown what was written. So a panic
    /// ends writing like a failed write, and publishers get an error.
    pub(crate) fn run(mut self, queue: &Queue) {
        if let Err(panic) = caught(|| self.write_all(queue)) {
            // Publishers of the jobs that were being committed get an error as their channels are
            // dropped. Then the queue is served further, so that no publisher waits: `commit`
            // rejects all jobs from now on.
            self.fail("the thread that writes has panicked", io::Error::other(panic));
            self.write_all(queue);
        }
    }

    fn write_all(&mut self, queue: &Queue) {
        while let Some(jobs) = queue.take() {
            if !jobs.is_empty() {
                self.commit(jobs);
            }
            // Also without jobs: `take` returns nothing after a while, so that an idle log is
            // trimmed by age.
            if self.failed.is_none() {
                self.keep_to_limits();
            }
        }
        if self.failed.is_none()
            && let Err(error) = self.close()
        {
            tracing::warn!(%error, "cannot write the clean mark");
        }
    }

    fn keep_to_limits(&mut self) {
        if let Err(error) = self.trim().or_else(later) {
            self.fail("history cannot be trimmed", error);
        } else if let Err(error) = self.indexer.check() {
            self.fail("indexes cannot be written", error);
        }
    }

    /// Writes the clean mark. It says that nothing follows the last commit.
    fn close(&mut self) -> io::Result<()> {
        self.cut_unfinished()?;
        let storage = &*self.shared.storage;
        if let Some(name) = self.abandoned.take() {
            storage.remove(&name)?;
            storage.sync()?;
        }
        // Copied, so that the lock is not held while the file is written.
        let (tail, end) = {
            let state = self.shared.state();
            (state.tail, state.active.end)
        };
        write_clean_mark(storage, tail, end)
    }

    fn commit(&mut self, jobs: Vec<Job>) {
        if let Some(reason) = &self.failed {
            return jobs
                .into_iter()
                .for_each(|job| job.refuse(AppendError::Failed(reason.clone())));
        }
        let now = self.shared.clock.reading();
        let mut ordered = Ordered::at(now, &self.options);
        for job in jobs {
            ordered.take(job, &self.shared);
        }
        let stored = match ordered.failed() {
            Some(error) => Err(error),
            None if ordered.entries.is_empty() => Ok(()),
            None => self.store(&ordered.entries, now),
        };
        self.outbox.send(ordered.answers(stored));
    }

    /// Writes and syncs a commit, adds it to the state, and calls the followers.
    fn store(&mut self, entries: &[Arc<Entry>], now: Reading) -> Result<(), AppendError> {
        // Written and synced before anything is changed in memory: readers and followers see only
        // what is durable.
        let commit = match self.write(entries) {
            Ok(commit) => commit,
            Err(error) => return Err(self.refuse(error)),
        };
        let seen = self.shared.take_in(entries, |State { active, tail, .. }| {
            // The commit has one row for each entry, in order.
            for (entry, row) in entries.iter().zip(commit.rows) {
                active.index.push(entry, row);
                active.first.get_or_insert(entry.position);
                active.newest = active.newest.max(milliseconds(entry.time));
                *tail = entry.position;
            }
            active.end = commit.end;
            active.seen()
        });
        self.ages.take(seen, now);
        if entries.iter().any(|entry| entry.publication.is_erasure()) {
            self.rewriter.wake();
        }
        Ok(())
    }

    /// The error for the publishers of a commit that was not written. If there was no space, it is
    /// certain that nothing of the commit stays. After any other error, the disk is not trusted any
    /// more.
    fn refuse(&mut self, error: io::Error) -> AppendError {
        let Some(refused) = passing(&error) else {
            return self.fail("a commit cannot be written", error);
        };
        match self.cut_unfinished() {
            Err(error) if passing(&error).is_none() => {
                self.fail("a refused commit cannot be removed", error)
            }
            // If there is no space to restore the end, this is tried again before the next write.
            _ => refused,
        }
    }

    /// Restores the end of the active segment after a failed write.
    fn cut_unfinished(&mut self) -> io::Result<()> {
        if !self.unfinished {
            return Ok(());
        }
        let (segment, end) = self.active();
        // Cuts off the bytes, then allocates again what the truncation freed.
        segment.file.truncate(u64::from(end.at))?;
        if segment.file.allocate(u64::from(self.room_to.max(end.at))).is_err() {
            // The next commit then begins a new segment.
            self.room_to = end.at;
        }
        segment.file.sync().map_err(not_full)?;
        self.unfinished = false;
        Ok(())
    }

    fn write(&mut self, entries: &[Arc<Entry>]) -> io::Result<Commit> {
        self.cut_unfinished()?;
        let (segment, end) = self.active();
        // Encoded before it is known whether it fits: its length is known only then. It is encoded
        // again for a new segment, where its place and the commit before it differ.
        let mut commit = Commit::encode(entries, &segment.header, end);
        let mut segment = segment;
        if commit.end.at > self.room_to
            || !self.spans(&segment.header, entries)
            || self.has_enough_entries()
        {
            segment = self.begin_segment(length(commit.bytes.len()))?;
            commit = Commit::encode(entries, &segment.header, CommitEnd::of_empty(&segment.header));
        }
        // Not below zero: `end.at` is the place of the commit plus its length.
        let at = u64::from(commit.end.at) - commit.bytes.len() as u64;
        segment.file.write_at(at, &commit.bytes).inspect_err(|_| self.unfinished = true)?;
        // A sync that reports a full disk counts as failed: what it should have written may be
        // lost, unlike after a write.
        segment.file.sync().map_err(not_full)?;
        Ok(commit)
    }

    fn active(&self) -> (Segment, CommitEnd) {
        let state = self.shared.state();
        (state.active.segment.clone(), state.active.end)
    }

    /// Whether the index can represent the offsets: it stores 32 bits relative to the first one,
    /// unless its rows are wide.
    fn spans(&self, header: &Header, entries: &[Arc<Entry>]) -> bool {
        let is_near =
            |last: &Arc<Entry>| last.offset() - header.previous.offset <= u64::from(u32::MAX);
        header.supplied || entries.last().is_none_or(is_near)
    }

    /// Seals the active segment and begins another with space for a commit of this size. An active
    /// segment without entries is enlarged instead.
    pub(crate) fn begin_segment(&mut self, bytes: u32) -> io::Result<Segment> {
        // The truncation when a segment is sealed is not synced. So an unfinished commit has to be
        // removed durably before.
        self.cut_unfinished()?;
        let (segment, end) = self.active();
        // From here on, the sealed file takes no further commit, even if a later step fails.
        self.room_to = 0;
        let size = self.options.segment_size().max(CommitEnd::of_empty(&segment.header).at + bytes);
        // Before the file is created, so that the log never takes more than its limit, not even for
        // a moment.
        self.make_room(size).or_else(later)?;
        let (index, summary) = self.shared.state().active_summary();
        if summary.entries == 0 {
            // A new segment would have the same name and replace this one. If creating it failed,
            // no segment would be left.
            segment.file.allocate(u64::from(size))?;
            self.room_to = size;
            return Ok(segment);
        }
        // Bounds the indexes in memory: with a slow disk, publishing waits here rather than using
        // more memory.
        self.indexer.wait_for_room()?;
        // The sealed segment becomes visible only after its successor exists durably: in between, a
        // failure leaves the active segment as it is.
        let sealed = Arc::new(Sealed::freeze(segment, end.at, index, summary)?);
        let segment = self.create_segment(&sealed, size)?;
        self.room_to = size;
        self.shared.change(|state| {
            Arc::make_mut(&mut state.sealed).push_back(Arc::clone(&sealed));
            state.active = Active::empty(segment.clone());
        });
        self.indexer.write(sealed);
        Ok(segment)
    }

    fn create_segment(&mut self, after: &Sealed, size: u32) -> io::Result<Segment> {
        let storage = &*self.shared.storage;
        let Header { salt, generation, supplied, .. } = after.segment.header;
        let header = Header { supplied, ..Header::new(salt, generation, after.summary.last) };
        let created = Segment::create(storage, header, size).inspect_err(|_| {
            let name = header.name();
            self.abandoned = storage.remove(&name).is_err().then_some(name);
        })?;
        self.abandoned = None;
        Ok(created)
    }

    /// Records a failure and stops writing for good: after a failed sync, the content of the disk
    /// is unknown.
    fn fail(&mut self, what: &str, error: io::Error) -> AppendError {
        let reason = DiskError::of(what, error);
        tracing::error!(%reason, "the log has failed");
        if let Some(failure) = self.failure.take() {
            // Sent once. The receiver is gone if the caller of `failure` has dropped it.
            let _ = failure.send(reason.to_string());
        }
        self.failed = Some(reason.clone());
        AppendError::Failed(reason)
    }
}

/// The error of an operation that stored nothing and may succeed later. `None` for any other error.
pub(crate) fn passing(error: &io::Error) -> Option<AppendError> {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    match (error.kind(), errno) {
        // A quota or a limit on the file size is like a full disk.
        (
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge,
            _,
        ) => Some(AppendError::Full),
        // Only opening a file returns this, before anything is written to it.
        (_, Some(Errno::MFILE | Errno::NFILE)) => Some(AppendError::NoDescriptors),
        _ => None,
    }
}

/// If there is no space to trim the history, it is trimmed later.
fn later(error: io::Error) -> io::Result<()> {
    let Some(reason) = passing(&error) else { return Err(error) };
    tracing::warn!(%reason, "history cannot be trimmed now");
    Ok(())
}
