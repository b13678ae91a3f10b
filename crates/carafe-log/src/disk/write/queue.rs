//! The queue of jobs for the writer. Any thread pushes; the writer takes.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use carafe_protocol::{Generation, Offset};
use futures_channel::oneshot;

use crate::disk::options::DiskOptions;
use crate::disk::read::keys::KeyLookup;
use crate::disk::state::DiskShared;
use crate::placement::Placement;
use crate::{
    AppendAtError, AppendError, Appended, Entry, OrderedAnswers, OrderedCommit, Publication,
    ReadError,
};

/// The maximum size of a batch. A segment is shorter than 4 GiB.
const BATCH: usize = 1 << 30;

/// The time after which an idle writer checks whether entries are too old.
const AGING: Duration = Duration::from_secs(1);

/// The queue of jobs for the writer.
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    came: Condvar,
    limit: usize,
    /// The maximum size of a batch.
    batch: usize,
    /// The size after which a commit takes no further job.
    commit: usize,
}

/// Reserved room in the queue for a job whose keys are still being looked up. Dropping it frees the
/// room.
pub(crate) struct Admitted {
    queue: Arc<Queue>,
    bytes: usize,
}

impl Admitted {
    pub(crate) fn push(mut self, job: Job) {
        let mut waiting = self.queue.waiting();
        // The job has the room now, so dropping `self` must not free it.
        self.bytes = 0;
        // The writer waits only while there is no job. Each notification is a system call.
        let may_wait = waiting.jobs.is_empty();
        waiting.jobs.push_back(job);
        drop(waiting);
        if may_wait {
            self.queue.arrived.notify_one();
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut waiting = self.queue.waiting();
        // Zero after `push`: the bytes are given back when the writer takes the job.
        waiting.bytes -= self.bytes;
        waiting.coming -= 1;
        let is_awaited = waiting.closing && waiting.coming == 0;
        drop(waiting);
        if is_awaited {
            self.queue.came.notify_all();
        }
    }
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    /// The most jobs of the last commits; those of earlier ones count less and less.
    usual: usize,
    /// The number of admitted jobs that were not pushed yet.
    coming: usize,
    /// The queue is to be closed once all admitted jobs have been pushed.
    closing: bool,
    closed: bool,
}

/// Publications or entries to store, and the channel for the answer.
pub(crate) struct Job {
    pub(crate) what: Work,
    bytes: usize,
}

pub(crate) enum Work {
    Publications(Vec<Publication>, KeyLookup, oneshot::Sender<Result<Vec<Appended>, AppendError>>),
    Entries(Vec<Entry>, oneshot::Sender<Result<(), AppendAtError>>),
    Ordered(Commits, KeyLookup, oneshot::Sender<Result<OrderedAnswers, AppendAtError>>),
}

/// Ordered commits. Their publications are in one list, so that their keys are looked up together.
pub(crate) struct Commits {
    pub(crate) publications: Vec<Publication>,
    /// The offset of the first commit.
    pub(crate) first: Offset,
    pub(crate) places: Vec<CommitPlace>,
}

/// Where a commit goes, and the sizes of its batches.
pub(crate) struct CommitPlace {
    pub(crate) placement: Placement,
    pub(crate) batches: Vec<usize>,
}

impl Commits {
    /// Commits that follow each other.
    pub(crate) fn of(commits: Vec<OrderedCommit>, generation: Generation) -> Self {
        let first = commits.first().map_or(0, |ordered| ordered.first);
        let (mut publications, mut places) = (Vec::new(), Vec::new());
        for ordered in commits {
            let placement = Placement::of(&ordered, generation);
            let batches = ordered.commit.batches;
            places.push(CommitPlace { placement, batches: batches.iter().map(Vec::len).collect() });
            publications.extend(batches.into_iter().flatten());
        }
        Self { publications, first, places }
    }

    /// The earliest time of a commit.
    pub(crate) fn earliest(&self) -> SystemTime {
        let times = self.places.iter().map(|place| place.placement.time);
        times.min().unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

impl Job {
    pub(crate) fn new(what: Work) -> Self {
        let bytes = match &what {
            Work::Publications(batch, ..) => batch.iter().map(Publication::weight).sum(),
            Work::Entries(entries, _) => entries.iter().map(Entry::weight).sum(),
            Work::Ordered(commits, ..) => {
                commits.publications.iter().map(Publication::weight).sum()
            }
        };
        Self { what, bytes }
    }

    /// Whether all keys are looked up.
    pub(crate) fn is_looked_up(&self) -> bool {
        match &self.what {
            Work::Publications(batch, looked, _) => looked.is_done(batch),
            Work::Entries(..) => true,
            Work::Ordered(commits, looked, _) => looked.is_done(&commits.publications),
        }
    }

    /// Runs one turn of looking up the keys. Returns whether all are looked up.
    pub(crate) fn look_up(&mut self, shared: &DiskShared) -> Result<bool, ReadError> {
        match &mut self.what {
            Work::Publications(batch, looked, _) => looked.go_on(batch, shared),
            Work::Entries(..) => Ok(true),
            Work::Ordered(commits, looked, _) => looked.go_on(&commits.publications, shared),
        }
    }

    pub(crate) fn refuse(self, error: AppendError) {
        // The caller may have dropped its receiver.
        match self.what {
            Work::Publications(.., reply) => drop(reply.send(Err(error))),
            Work::Entries(_, reply) => drop(reply.send(Err(error.into()))),
            Work::Ordered(.., reply) => drop(reply.send(Err(error.into()))),
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
        match self.admit(&job) {
            Ok(admitted) => admitted.push(job),
            Err(error) => job.refuse(error),
        }
    }

    /// Reserves room for a job.
    ///
    /// # Errors
    /// When the job is too large, too many bytes wait, or the queue is being closed.
    pub(crate) fn admit(self: &Arc<Self>, job: &Job) -> Result<Admitted, AppendError> {
        let (bytes, limit) = (job.bytes, self.limit_of(job));
        if bytes > limit {
            return Err(AppendError::TooLarge { bytes, limit });
        }
        let mut waiting = self.waiting();
        if waiting.closing {
            return Err(AppendError::Closed);
        }
        // A batch larger than the limit is accepted by an empty queue: it could never be stored
        // otherwise.
        if waiting.bytes > 0 && waiting.bytes + bytes > self.limit {
            return Err(AppendError::Busy);
        }
        waiting.bytes += bytes;
        waiting.coming += 1;
        Ok(Admitted { queue: Arc::clone(self), bytes })
    }

    /// The maximum size of a job. What was ordered elsewhere is stored, however short the history
    /// of this node is.
    fn limit_of(&self, job: &Job) -> usize {
        if matches!(job.what, Work::Ordered(..)) { BATCH } else { self.batch }
    }

    /// Closes the queue after all admitted jobs have been pushed.
    pub(crate) fn close(&self) {
        let coming = |waiting: &mut Waiting| waiting.coming > 0;
        let mut waiting = self.waiting();
        waiting.closing = true;
        let waiting = self.came.wait_while(waiting, coming);
        // Under the same guard as the check: no job is admitted between the two.
        waiting.unwrap_or_else(PoisonError::into_inner).closed = true;
        self.arrived.notify_one();
    }

    /// The next jobs, up to the size of one commit. Empty if no job arrived for a while. `None` if
    /// the queue is closed and empty.
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
        if waiting.jobs.len().max(waiting.usual) > 1 {
            // Threads that are ready to run go first, where they need the processor of this one:
            // what they publish shares the commit. A single publisher waits for nobody.
            drop(waiting);
            thread::yield_now();
            waiting = self.waiting();
        }
        let (mut jobs, mut bytes) = (Vec::new(), 0);
        // At least one job, however large: the check follows the push.
        while let Some(job) = waiting.jobs.pop_front() {
            bytes += job.bytes;
            jobs.push(job);
            if bytes >= self.commit {
                break;
            }
        }
        waiting.bytes -= bytes;
        waiting.usual = jobs.len().max(waiting.usual * 7 / 8);
        Some(jobs)
    }
}
