//! What waits to be written.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_channel::oneshot;

use super::options::DiskOptions;
use crate::{AppendAtError, AppendError, Appended, Entry, Publication};

/// The most bytes that one batch may have: a segment ends before 4 GiB.
const BATCH: usize = 1 << 30;

/// How often entries are looked at that may have become too old.
const AGING: Duration = Duration::from_secs(1);

/// What waits to be written.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    limit: usize,
    /// Bytes that one batch may have.
    batch: usize,
    /// Bytes that one commit takes up, unless a single batch has more.
    commit: usize,
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

    pub(crate) fn refuse(self, error: AppendError) {
        // Who asked may have left.
        match self.what {
            What::Publications(_, reply) => drop(reply.send(Err(error))),
            What::Entries(_, reply) => drop(reply.send(Err(error.into()))),
        }
    }
}

impl Queue {
    pub(crate) fn new(options: &DiskOptions) -> Self {
        Self {
            waiting: Mutex::default(),
            arrived: Condvar::new(),
            limit: options.waiting_bytes,
            batch: usize::try_from(options.bytes).map_or(BATCH, |bytes| bytes.min(BATCH)),
            commit: options.commit_bytes(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, job: Job) {
        if job.bytes > self.batch {
            let (bytes, limit) = (job.bytes, self.batch);
            return job.refuse(AppendError::TooLarge { bytes, limit });
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
    pub(crate) fn take(&self) -> Option<Vec<Job>> {
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
            if bytes >= self.commit {
                break;
            }
        }
        waiting.bytes -= bytes;
        Some(jobs)
    }
}
