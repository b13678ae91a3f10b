//! The one thread that writes: it commits everything that arrived while it synced the commit before.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use carafe_protocol::{Position, Topic};
use futures_channel::oneshot;
use rustix::io::Errno;

use super::codec::length;
use super::index::{ActiveIndex, Index, Summary, milliseconds};
use super::open::write_clean_mark;
use super::options::DiskOptions;
use super::sealed::{Sealed, Segment};
use super::segment::{Commit, End, Header};
use super::state::{Active, Shared, State};
use crate::entry::now;
use crate::{AppendAtError, AppendError, Appended, Entry, IdempotencyKey, Publication};

/// The most bytes of entries that one commit takes up, unless a single batch has more.
const COMMIT: usize = 16 << 20;

/// The most bytes that one batch may have: a segment ends before 4 GiB.
const BATCH: usize = 1 << 30;

/// How often entries are looked at that may have become too old.
const AGING: Duration = Duration::from_secs(1);

/// What waits to be written.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    limit: usize,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    closed: bool,
}

/// Something to store, and who waits for it.
pub(crate) struct Job {
    pub(crate) what: What,
    bytes: usize,
}

pub(crate) enum What {
    Publications(Vec<Publication>, oneshot::Sender<Result<Vec<Appended>, AppendError>>),
    Entries(Vec<Entry>, oneshot::Sender<Result<(), AppendAtError>>),
}

impl Job {
    pub(crate) fn new(what: What) -> Self {
        let bytes = match &what {
            What::Publications(batch, _) => batch.iter().map(Publication::weight).sum(),
            What::Entries(entries, _) => entries.iter().map(Entry::weight).sum(),
        };
        Self { what, bytes }
    }

    fn refuse(self, error: AppendError) {
        // Who asked may have left.
        match self.what {
            What::Publications(_, reply) => drop(reply.send(Err(error))),
            What::Entries(_, reply) => drop(reply.send(Err(error.into()))),
        }
    }
}

impl Queue {
    pub(crate) fn new(limit: usize) -> Self {
        Self { waiting: Mutex::default(), arrived: Condvar::new(), limit }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, job: Job) {
        if job.bytes > BATCH {
            let bytes = job.bytes;
            return job.refuse(AppendError::TooLarge { bytes, limit: BATCH });
        }
        let mut waiting = self.waiting();
        if waiting.bytes > 0 && waiting.bytes + job.bytes > self.limit {
            drop(waiting);
            return job.refuse(AppendError::Busy);
        }
        waiting.bytes += job.bytes;
        waiting.jobs.push_back(job);
        self.arrived.notify_one();
    }

    pub(crate) fn close(&self) {
        self.waiting().closed = true;
        self.arrived.notify_one();
    }

    /// What waits, as much as one commit takes; nothing if nothing came for a while; `None` when there will be no more.
    fn take(&self) -> Option<Vec<Job>> {
        let waiting = self.waiting();
        let nothing = |waiting: &mut Waiting| waiting.jobs.is_empty() && !waiting.closed;
        let (mut waiting, _) =
            self.arrived.wait_timeout_while(waiting, AGING, nothing).unwrap_or_else(PoisonError::into_inner);
        if waiting.jobs.is_empty() && waiting.closed {
            return None;
        }
        let (mut jobs, mut bytes) = (Vec::new(), 0);
        while let Some(job) = waiting.jobs.pop_front() {
            bytes += job.bytes;
            jobs.push(job);
            if bytes >= COMMIT {
                break;
            }
        }
        waiting.bytes -= bytes;
        Some(jobs)
    }
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    options: DiskOptions,
    /// How far the active segment has room.
    room_to: u32,
    failed: Option<String>,
    failure: Option<oneshot::Sender<String>>,
}

/// What was asked for, put in order: what to store, and what to answer then.
#[derive(Default)]
struct Ordered {
    entries: Vec<Arc<Entry>>,
    keys: HashMap<(Topic, IdempotencyKey), Position>,
    answers: Vec<Answer>,
}

enum Answer {
    Appended(oneshot::Sender<Result<Vec<Appended>, AppendError>>, Vec<Appended>),
    Supplied(oneshot::Sender<Result<(), AppendAtError>>),
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        options: DiskOptions,
        room_to: u32,
        failure: oneshot::Sender<String>,
    ) -> Self {
        Self { shared, options, room_to, failed: None, failure: Some(failure) }
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
        let mut ordered = Ordered::default();
        for job in jobs {
            self.put_in_order(job, &mut ordered);
        }
        let stored = if ordered.entries.is_empty() { Ok(()) } else { self.store(&ordered.entries) };
        ordered.answer(&stored);
    }

    fn put_in_order(&self, job: Job, ordered: &mut Ordered) {
        let tail = ordered.entries.last().map_or_else(|| self.shared.state().tail, |entry| entry.position);
        match job.what {
            What::Publications(batch, reply) => match self.order_publications(batch, tail, ordered) {
                Ok(appended) => ordered.answers.push(Answer::Appended(reply, appended)),
                Err(error) => drop(reply.send(Err(error))),
            },
            What::Entries(entries, reply) => match in_order(&entries, tail) {
                Ok(()) => {
                    ordered.entries.extend(entries.into_iter().map(Arc::new));
                    ordered.answers.push(Answer::Supplied(reply));
                }
                Err(error) => drop(reply.send(Err(error))),
            },
        }
    }

    fn order_publications(
        &self,
        batch: Vec<Publication>,
        mut tail: Position,
        ordered: &mut Ordered,
    ) -> Result<Vec<Appended>, AppendError> {
        let generation = self.shared.state().active.segment.header.generation;
        let (time, before) = (now(), ordered.entries.len());
        let mut appended = Vec::with_capacity(batch.len());
        for publication in batch {
            let position = Position { generation, offset: tail.offset + 1, nonce: rand::random() };
            let entry = Entry { position, time, publication };
            match self.first_with_key_of(&entry, ordered) {
                Ok(Some(position)) => appended.push(Appended { position, repeated: true }),
                Ok(None) => {
                    tail = position;
                    ordered.push(entry);
                    appended.push(Appended { position, repeated: false });
                }
                Err(error) => {
                    ordered.entries.truncate(before);
                    ordered.keys.retain(|_, position| position.offset < tail.offset);
                    return Err(error);
                }
            }
        }
        Ok(appended)
    }

    fn first_with_key_of(&self, entry: &Entry, ordered: &Ordered) -> Result<Option<Position>, AppendError> {
        let Some(key) = entry.publication.key() else { return Ok(None) };
        let name = (entry.publication.topic().clone(), key.clone());
        if let Some(position) = ordered.keys.get(&name) {
            return Ok(Some(*position));
        }
        self.shared
            .keyed(entry.publication.topic(), key)
            .map_err(|error| AppendError::Failed(error.to_string()))
    }

    /// Writes and syncs a commit, takes it in, and hands it to the followers.
    fn store(&mut self, entries: &[Arc<Entry>]) -> Result<(), AppendError> {
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
    fn begin_segment(&mut self, bytes: u32) -> io::Result<Segment> {
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

    /// Forgets the oldest segments while they are beyond what is to be kept.
    fn trim(&mut self) -> io::Result<()> {
        self.end_aged_segment()?;
        while let Some(oldest) = self.beyond() {
            let storage = &*self.shared.storage;
            self.shared.state().sealed.pop_front();
            storage.remove(&oldest.segment.name)?;
            storage.remove(&oldest.segment.index_name())?;
            // Without it, a crash could bring this one back and lose the next.
            storage.sync()?;
        }
        Ok(())
    }

    fn beyond(&self) -> Option<Arc<Sealed>> {
        let state = self.shared.state();
        let oldest = state.sealed.front()?;
        let bytes: u64 = state.sealed.iter().map(|sealed| sealed.bytes).sum();
        let entries: u64 = state.sealed.iter().map(|sealed| u64::from(sealed.summary.entries)).sum();
        let left = entries - u64::from(oldest.summary.entries) + u64::from(state.active.index.entries());
        let beyond = bytes + u64::from(state.active.end.at) > self.options.bytes
            || left >= self.options.entries
            || self.is_aged(oldest.summary.newest);
        beyond.then(|| Arc::clone(oldest))
    }

    /// Entries age in the active segment too, if no others come.
    fn end_aged_segment(&mut self) -> io::Result<()> {
        let aged = {
            let state = self.shared.state();
            state.active.index.entries() > 0 && self.is_aged(state.active.newest)
        };
        if !aged {
            return Ok(());
        }
        match self.begin_segment(0) {
            Err(error) if passing(&error).is_some() => Ok(()),
            begun => begun.map(drop),
        }
    }

    fn is_aged(&self, newest: u64) -> bool {
        let since = Duration::from_millis(milliseconds(SystemTime::now()).saturating_sub(newest));
        self.options.age.is_some_and(|age| since > age)
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
fn passing(error: &io::Error) -> Option<AppendError> {
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

fn in_order(entries: &[Entry], mut tail: Position) -> Result<(), AppendAtError> {
    for entry in entries {
        if entry.offset() <= tail.offset {
            return Err(AppendAtError::OutOfOrder { offset: entry.offset(), tail: tail.offset });
        }
        tail = entry.position;
    }
    Ok(())
}

impl Active {
    pub(crate) fn empty(segment: Segment) -> Self {
        let end = End::of_empty(&segment.header);
        Self { segment, index: Arc::default(), first: None, end, newest: 0 }
    }
}

impl Ordered {
    fn push(&mut self, entry: Entry) {
        if let Some(key) = entry.publication.key() {
            self.keys.insert((entry.publication.topic().clone(), key.clone()), entry.position);
        }
        self.entries.push(Arc::new(entry));
    }

    /// Who asked may have left.
    fn answer(self, stored: &Result<(), AppendError>) {
        for answer in self.answers {
            match answer {
                Answer::Appended(reply, appended) => {
                    drop(reply.send(stored.clone().map(|()| appended)));
                }
                Answer::Supplied(reply) => drop(reply.send(stored.clone().map_err(Into::into))),
            }
        }
    }
}
