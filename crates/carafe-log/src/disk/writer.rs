//! The one thread that writes: it commits everything that arrived while it synced the commit before.

use std::io;
use std::sync::Arc;

use futures_channel::oneshot;
use rustix::io::Errno;

use super::ages::Ages;
use super::codec::length;
use super::index::{ActiveIndex, Summary, milliseconds};
use super::open::write_clean_mark;
use super::options::DiskOptions;
use super::order::Ordered;
use super::queue::{Job, Queue};
use super::sealed::{Sealed, Segment};
use super::segment::{Commit, End, Header};
use super::state::{Active, Shared, State};
use crate::clock::Reading;
use crate::{AppendError, Entry};

pub(crate) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) options: DiskOptions,
    pub(super) ages: Ages,
    /// How far the active segment has room.
    room_to: u32,
    failed: Option<String>,
    failure: Option<oneshot::Sender<String>>,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        options: DiskOptions,
        room_to: u32,
        failure: oneshot::Sender<String>,
    ) -> Self {
        let ages = Ages::new(options.age, shared.clock.reading());
        Self { shared, options, ages, room_to, failed: None, failure: Some(failure) }
    }

    /// Writes what comes, until there will be no more.
    pub(crate) fn run(mut self, queue: &Queue) {
        while let Some(jobs) = queue.take() {
            if !jobs.is_empty() {
                self.commit(jobs);
            }
            if self.failed.is_none()
                && let Err(error) = self.trim()
            {
                self.fail("history cannot be trimmed", &error);
            }
        }
        if self.failed.is_none()
            && let Err(error) = write_clean_mark(&*self.shared.storage, &self.shared.state())
        {
            tracing::warn!(%error, "cannot mark the log as closed in order");
        }
    }

    fn commit(&mut self, jobs: Vec<Job>) {
        if let Some(reason) = &self.failed {
            return jobs.into_iter().for_each(|job| job.refuse(AppendError::Failed(reason.clone())));
        }
        let now = self.shared.clock.reading();
        let mut ordered = Ordered::at(now);
        for job in jobs {
            ordered.take(job, &self.shared);
        }
        let stored = if ordered.entries.is_empty() { Ok(()) } else { self.store(&ordered.entries, now) };
        ordered.answer(&stored);
    }

    /// Writes and syncs a commit, takes it in, and hands it to the followers.
    fn store(&mut self, entries: &[Arc<Entry>], now: Reading) -> Result<(), AppendError> {
        let commit = match self.write(entries) {
            Ok(commit) => commit,
            Err(error) => {
                return Err(
                    passing(&error).unwrap_or_else(|| self.fail("a commit cannot be written", &error))
                );
            }
        };
        let mut state = self.shared.state();
        let State { active, tail, followers, .. } = &mut *state;
        for (entry, row) in entries.iter().zip(commit.rows) {
            Arc::make_mut(&mut active.index).push(entry, row);
            active.first.get_or_insert(entry.position);
            active.newest = active.newest.max(milliseconds(entry.time));
            *tail = entry.position;
        }
        active.end = commit.end;
        self.ages.take(active.seen(), now);
        followers.iter().for_each(|follower| follower(entries));
        Ok(())
    }

    fn write(&mut self, entries: &[Arc<Entry>]) -> io::Result<Commit> {
        let (segment, end) = self.active();
        let mut commit = Commit::encode(entries, &segment.header, end);
        let mut segment = segment;
        if commit.end.at > self.room_to || !self.spans(&segment.header, entries) {
            segment = self.begin_segment(length(commit.bytes.len()))?;
            commit = Commit::encode(entries, &segment.header, End::of_empty(&segment.header));
        }
        let at = u64::from(commit.end.at) - commit.bytes.len() as u64;
        segment.file.write_at(at, &commit.bytes)?;
        segment.file.sync().map_err(not_full)?;
        Ok(commit)
    }

    fn active(&self) -> (Segment, End) {
        let state = self.shared.state();
        (state.active.segment.clone(), state.active.end)
    }

    /// Whether the offsets lie so near to the segment's first that its index can hold them.
    fn spans(&self, header: &Header, entries: &[Arc<Entry>]) -> bool {
        entries.last().is_none_or(|last| last.offset() - header.previous.offset <= u64::from(u32::MAX))
    }

    /// Seals the active segment, if anything is in it, and begins another with room for so many bytes.
    pub(super) fn begin_segment(&mut self, bytes: u32) -> io::Result<Segment> {
        let (segment, end) = self.active();
        // Whatever fails from here on, the sealed file takes nothing more.
        self.room_to = 0;
        let (index, summary) = self.shared.state().active_summary();
        let (sealed, segment) = self.seal_and_begin(segment, end, &index, summary, bytes)?;
        let mut state = self.shared.state();
        state.sealed.extend(sealed.map(Arc::new));
        state.active = Active::empty(segment.clone());
        Ok(segment)
    }

    fn seal_and_begin(
        &mut self,
        segment: Segment,
        end: End,
        index: &ActiveIndex,
        summary: Summary,
        bytes: u32,
    ) -> io::Result<(Option<Sealed>, Segment)> {
        let storage = &*self.shared.storage;
        let generation = segment.header.generation;
        let sealed = if summary.entries > 0 {
            Some(Sealed::seal(storage, segment, end.at, index, summary)?)
        } else {
            None
        };
        let header = Header { salt: rand::random(), generation, previous: summary.last };
        let size = self.options.segment_bytes.max(End::of_empty(&header).at + bytes);
        let begun = Segment::create(storage, header, size).inspect_err(|_| {
            // It holds nothing; what is left of it is replaced when the next one is begun.
            let _ = storage.remove(&header.name());
        })?;
        self.room_to = size;
        Ok((sealed, begun))
    }

    /// Nothing is written after a failure: what a disk has after a failed sync, nobody knows.
    fn fail(&mut self, what: &str, error: &io::Error) -> AppendError {
        let reason = format!("{what}: {error}");
        tracing::error!(reason, "the log has failed");
        if let Some(failure) = self.failure.take() {
            let _ = failure.send(reason.clone());
        }
        self.failed = Some(reason.clone());
        AppendError::Failed(reason)
    }
}

/// What has stored nothing, and may be over when it is tried again.
pub(super) fn passing(error: &io::Error) -> Option<AppendError> {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    match (error.kind(), errno) {
        (io::ErrorKind::StorageFull, _) => Some(AppendError::Full),
        // Only opening a file comes to this, before anything is written to it.
        (_, Some(Errno::MFILE | Errno::NFILE)) => Some(AppendError::NoDescriptors),
        _ => None,
    }
}

/// A sync that fails for want of room has lost data like any other.
fn not_full(error: io::Error) -> io::Error {
    io::Error::other(error)
}

impl Active {
    pub(crate) fn empty(segment: Segment) -> Self {
        let end = End::of_empty(&segment.header);
        Self { segment, index: Arc::default(), first: None, end, newest: 0 }
    }
}
