//! The thread that removes erased and superseded content from the disk: it writes sealed segments
//! again, one at a time and at a limited rate, and replaces their files.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use carafe_protocol::{Offset, Topic};

use crate::disk::format::filter::HashKind;
use crate::disk::options::DiskOptions;
use crate::disk::pace::Pace;
use crate::disk::read::erased::holds_erased;
use crate::disk::read::part::SegmentReader;
use crate::disk::read::superseded::Superseded;
use crate::disk::segment::rewrite::{RewriteError, rewrite};
use crate::disk::segment::sealed::Sealed;
use crate::disk::state::DiskShared;
use crate::disk::write::replace::Replacement;
use crate::panics::caught;
use crate::readers::give_way;
use crate::{Entry, Erasures, ReadError};

/// The time between two looks at the erasures.
const LOOK: Duration = Duration::from_secs(1);

/// The time after which a rewrite that has failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The maximum of this time, which doubles with each failure.
const LATEST: Duration = Duration::from_secs(600);

/// The maximum rate in bytes per second: a part of what a slow disk writes, and 56 GiB an hour.
const RATE: u32 = 16 << 20;

/// The thread that rewrites segments.
pub(crate) struct Rewriter {
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

/// Wakes the thread.
#[derive(Default)]
struct Signal {
    state: Mutex<Signalled>,
    changed: Condvar,
}

#[derive(Default)]
struct Signalled {
    closed: bool,
    /// An erasure was stored.
    erased: bool,
}

impl Rewriter {
    pub(crate) fn start(shared: Arc<DiskShared>, options: &DiskOptions) -> io::Result<Self> {
        let signal = Arc::<Signal>::default();
        let passes = Passes {
            shared,
            signal: Arc::clone(&signal),
            limits: Limits::of(options),
            left: None,
            compacted: 0,
        };
        let thread = thread::Builder::new().name("carafe-log-erase".into());
        let thread = thread.spawn(move || passes.run())?;
        Ok(Self { signal, thread: Some(thread) })
    }

    /// Tells the thread that an erasure was stored.
    pub(crate) fn wake(&self) {
        self.signal.lock().erased = true;
        self.signal.changed.notify_all();
    }
}

impl Drop for Rewriter {
    /// Ends the thread. A segment that is being written stays as it was.
    fn drop(&mut self) {
        self.signal.lock().closed = true;
        self.signal.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Signal {
    fn lock(&self) -> MutexGuard<'_, Signalled> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a time, or until the log is closed; whether it is open.
    fn pause(&self, time: Duration) -> bool {
        let open = |signalled: &mut Signalled| !signalled.closed;
        let waited = self.changed.wait_timeout_while(self.lock(), time, open);
        !waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    /// Waits for an erasure or a time; whether the log is open.
    fn wait(&self, time: Duration) -> bool {
        let idle = |signalled: &mut Signalled| !signalled.closed && !signalled.erased;
        let waited = self.changed.wait_timeout_while(self.lock(), time, idle);
        let mut signalled = waited.unwrap_or_else(PoisonError::into_inner).0;
        signalled.erased = false;
        !signalled.closed
    }
}

/// When erased content has to be removed.
struct Limits {
    /// The time within which it has left the disk.
    within: Duration,
    /// The maximum number of erasures that wait.
    erasures: usize,
}

impl Limits {
    fn of(options: &DiskOptions) -> Self {
        Self { within: options.erase_within, erasures: options.erasures }
    }

    /// Whether erasures have to be carried out now. They wait for a while, so that one rewrite
    /// carries out many.
    fn are_due(&self, erasures: &Erasures, now: SystemTime) -> bool {
        let waited = erasures.since().map(|since| now.duration_since(since).unwrap_or_default());
        waited.is_some_and(|waited| waited >= self.within / 2)
            || erasures.len() >= self.erasures.div_ceil(2)
    }
}

/// What a pass over the segments has found.
enum Pass {
    /// No segment has erased content.
    Done,
    /// Erased content is in the active segment, or in one whose index is not written yet.
    Waiting,
}

/// Passes over the segments.
struct Passes {
    shared: Arc<DiskShared>,
    signal: Arc<Signal>,
    limits: Limits,
    /// A segment that was written again, and whose file does not have its name yet.
    left: Option<Replacement>,
    /// The offset before the newest sealed segment, when segments were last compacted.
    compacted: Offset,
}

impl Passes {
    /// Runs until the log is closed. After a panic nothing is rewritten any more, and erased
    /// content stays on the disk until the next start; readers still do not get it.
    fn run(mut self) {
        give_way();
        if let Err(panic) = caught(|| self.run_all()) {
            tracing::error!(
                panic,
                "the thread that rewrites segments has ended: erased events stay on the disk until \
                 the next start"
            );
        }
    }

    fn run_all(&mut self) {
        let mut again = AGAIN;
        while self.signal.wait(LOOK) {
            match self.pass() {
                Ok(()) => again = AGAIN,
                Err(RewriteError::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "erased events cannot be removed from the disk now");
                    self.signal.pause(again);
                    again = LATEST.min(again * 2);
                }
            }
        }
    }

    /// Removes erased content, if it is time.
    fn pass(&mut self) -> Result<(), RewriteError> {
        if let Some(left) = self.left.take() {
            self.finish(left)?;
        }
        if let Some(erasures) = self.shared.view().erasures.clone()
            && self.limits.are_due(&erasures, self.shared.clock.now())
            && matches!(self.rewrite_all(&erasures)?, Pass::Done)
        {
            self.shared.forget_erasures(&erasures);
        }
        self.compact()
    }

    /// Rewrites segments of which at least half is superseded, when a sixteenth of the segments is
    /// new since the last time: this looks at the indexes of all.
    fn compact(&mut self) -> Result<(), RewriteError> {
        let (view, matchers) = (self.shared.view(), self.shared.compacted.load_full());
        let is_new = |sealed: &&Arc<Sealed>| sealed.segment.header.previous.offset > self.compacted;
        let new = view.sealed.iter().rev().take_while(is_new).count();
        // The first segment begins after offset 0, so a log with one has none that is new.
        if matchers.is_empty() || new == 0 || new < view.sealed.len() / 16 {
            return Ok(());
        }
        let signal = Arc::clone(&self.signal);
        let go_on = || signal.pause(Duration::ZERO);
        let found = Superseded::find(&self.shared, &matchers, go_on).map_err(of_read)?;
        let superseded = found.ok_or(RewriteError::Closed)?;
        for sealed in view.sealed.iter() {
            self.compact_one(sealed, &superseded)?;
        }
        let newest = view.sealed.back().map(|sealed| sealed.segment.header.previous.offset);
        self.compacted = newest.unwrap_or(self.compacted);
        Ok(())
    }

    fn compact_one(
        &mut self,
        sealed: &Arc<Sealed>,
        superseded: &Superseded,
    ) -> Result<(), RewriteError> {
        let Some(part) = self.reader(sealed)? else { return Ok(()) };
        let size = sealed.segment.file.size()?;
        if superseded.bytes(&part, &self.shared).map_err(of_read)? * 2 < size {
            return Ok(());
        }
        self.replace(sealed, |entry| superseded.apply(entry))
    }

    /// A reader of a sealed segment that may be rewritten now; `None` if it was trimmed, or its
    /// index file is still being written, under the name that the new one will have.
    fn reader(&self, sealed: &Arc<Sealed>) -> Result<Option<SegmentReader>, RewriteError> {
        if !self.signal.pause(Duration::ZERO) {
            return Err(RewriteError::Closed);
        }
        if !sealed.is_settled() {
            return Ok(None);
        }
        match sealed.index(&*self.shared.storage) {
            Err(ReadError::Trimmed { .. }) => Ok(None),
            index => Ok(Some(SegmentReader::of(sealed, index.map_err(of_read)?))),
        }
    }

    /// Rewrites all sealed segments with erased content. A segment that cannot be rewritten does
    /// not keep others from it.
    fn rewrite_all(&mut self, erasures: &Erasures) -> Result<Pass, RewriteError> {
        let (view, mut pass, mut failed) = (self.shared.view(), Pass::Done, None);
        for sealed in view.sealed.iter() {
            match self.rewrite_one(sealed, erasures) {
                Ok(Pass::Done) => {}
                Ok(Pass::Waiting) => pass = Pass::Waiting,
                Err(RewriteError::Closed) => return Err(RewriteError::Closed),
                // Its file has to be replaced before anything else is.
                Err(error) if self.left.is_some() => return Err(error),
                Err(error) => failed = Some(error),
            }
        }
        if holds_erased(&view.active_with_erased(), erasures, |_| true).map_err(of_read)? {
            // The writer ends the segment, and a later pass rewrites it.
            self.shared.seal_after(view.segment.header.previous.offset);
            pass = Pass::Waiting;
        }
        failed.map_or(Ok(pass), Err)
    }

    fn rewrite_one(
        &mut self,
        sealed: &Arc<Sealed>,
        erasures: &Erasures,
    ) -> Result<Pass, RewriteError> {
        if sealed.segment.header.previous.offset + 1 >= erasures.newest() {
            return Ok(Pass::Done);
        }
        let Some(part) = self.reader(sealed)? else { return Ok(Pass::Waiting) };
        let may_have = |topic: &Topic| sealed.may_have(HashKind::Topic, &[topic.as_str()]);
        if !holds_erased(&part, erasures, may_have).map_err(of_read)? {
            return Ok(Pass::Done);
        }
        self.replace(sealed, |entry| erasures.apply(entry))?;
        Ok(Pass::Done)
    }

    fn replace(
        &mut self,
        old: &Arc<Sealed>,
        change: impl Fn(Entry) -> Entry,
    ) -> Result<(), RewriteError> {
        let shared = Arc::clone(&self.shared);
        let _room = shared.rewriting(old.bytes);
        let signal = Arc::clone(&self.signal);
        let pause = |written: u32| signal.pause(Duration::from_secs(1) * written / RATE);
        let new = rewrite(&*shared.storage, &old.segment, change, pause)?;
        self.finish(Replacement::new(Arc::clone(old), new))
    }

    /// Replaces the files. What could not be done is tried again by the next pass.
    fn finish(&mut self, mut replacement: Replacement) -> Result<(), RewriteError> {
        let pace = Pace::new(&|| false);
        let replaced = replacement.go_on(&self.shared, &pace);
        if replaced.is_err() {
            self.left = Some(replacement);
        }
        Ok(replaced?)
    }
}

fn of_read(error: ReadError) -> RewriteError {
    io::Error::other(error).into()
}
