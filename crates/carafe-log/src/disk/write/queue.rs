//! Work waits to be written.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_channel::oneshot;

use crate::disk::options::DiskOptions;
use crate::disk::read::keys::KeyLookup;
use crate::disk::state::DiskShared;
use crate::{AppendAtError, AppendError, Appended, Entry, Publication, ReadError};

/// The most bytes that one batch may have: a segment ends before 4 GiB.
const BATCH: usize = 1 << 30;

/// How often entries are looked at that may have become too old.
const AGING: Duration = Duration::from_secs(1);

/// Work waits to be written.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    came: Condvar,
    limit: usize,
    /// Bytes that one batch may have.
    batch: usize,
    /// Bytes that one commit takes up, unless a single batch has more.
    commit: usize,
}

/// A place in the queue for a job that is yet to come.
pub(crate) struct Admitted {
    queue: Arc<Queue>,
    bytes: usize,
}

impl Admitted {
    pub(crate) fn push(mut self, job: Job) {
        let mut waiting = self.queue.waiting();
        // They are the job's from here on.
        self.bytes = 0;
        waiting.jobs.push_back(job);
        self.queue.arrived.notify_one();
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut waiting = self.queue.waiting();
        waiting.bytes -= self.bytes;
        waiting.coming -= 1;
        self.queue.came.notify_all();
    }
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    /// Jobs that were admitted and are yet to come.
    coming: usize,
    closed: bool,
}

/// Something to store, and who waits for it.
pub(crate) struct Job {
    pub(crate) what: Work,
    bytes: usize,
}

pub(crate) enum Work {
    Publications(Vec<Publication>, KeyLookup, oneshot::Sender<Result<Vec<Appended>, AppendError>>),
    Entries(Vec<Entry>, oneshot::Sender<Result<(), AppendAtError>>),
}

impl Job {
    pub(crate) fn new(what: Work) -> Self {
        let bytes = match &what {
            Work::Publications(batch, ..) => batch.iter().map(Publication::weight).sum(),
            Work::Entries(entries, _) => entries.iter().map(Entry::weight).sum(),
        };
        Self { what, bytes }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Goes on to look up its keys, and says whether that is done.
    pub(crate) fn look_up(&mut self, shared: &DiskShared) -> Result<bool, ReadError> {
        match &mut self.what {
            Work::Publications(batch, looked, _) => looked.go_on(batch, shared),
            Work::Entries(..) => Ok(true),
        }
    }

    pub(crate) fn refuse(self, error: AppendError) {
        // Who asked may have left.
        match self.what {
            Work::Publications(.., reply) => drop(reply.send(Err(error))),
            Work::Entries(_, reply) => drop(reply.send(Err(error.into()))),
        }
    }
}

impl Queue {
    pub(crate) fn new(options: &DiskOptions) -> Self {
        Self {
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            came: Condvar::new(),
            limit: options.waiting_bytes,
            batch: usize::try_from(options.bytes).map_or(BATCH, |bytes| bytes.min(BATCH)),
            commit: options.commit_bytes(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(self: &Arc<Self>, job: Job) {
        match self.admit(job.bytes) {
            Ok(admitted) => admitted.push(job),
            Err(error) => job.refuse(error),
        }
    }

    /// Takes so many bytes in that are yet to come.
    ///
    /// # Errors
    /// When that is more than may wait.
    pub(crate) fn admit(self: &Arc<Self>, bytes: usize) -> Result<Admitted, AppendError> {
        if bytes > self.batch {
            return Err(AppendError::TooLarge { bytes, limit: self.batch });
        }
        let mut waiting = self.waiting();
        if waiting.bytes > 0 && waiting.bytes + bytes > self.limit {
            return Err(AppendError::Busy);
        }
        waiting.bytes += bytes;
        waiting.coming += 1;
        Ok(Admitted { queue: Arc::clone(self), bytes })
    }

    /// Takes nothing more, once all that was admitted has come.
    pub(crate) fn close(&self) {
        let coming = |waiting: &mut Waiting| waiting.coming > 0;
        let waiting = self.came.wait_while(self.waiting(), coming);
        waiting.unwrap_or_else(PoisonError::into_inner).closed = true;
        self.arrived.notify_one();
    }

    /// Work waits, as much as one commit takes; nothing if nothing came for a while; `None` when
    /// there will be no more.
    pub(crate) fn take(&self) -> Option<Vec<Job>> {
        let waiting = self.waiting();
        let nothing = |waiting: &mut Waiting| waiting.jobs.is_empty() && !waiting.closed;
        let (mut waiting, _) = self
            .arrived
            .wait_timeout_while(waiting, AGING, nothing)
            .unwrap_or_else(PoisonError::into_inner);
        if waiting.jobs.is_empty() && waiting.closed {
            return None;
        }
        let (mut jobs, mut bytes) = (Vec::new(), 0);
        while let Some(job) = waiting.jobs.pop_front() {
            bytes += job.bytes;
            jobs.push(job);
            if bytes >= self.commit {
                break;
            }
        }
        waiting.bytes -= bytes;
        Some(jobs)
    }
}
