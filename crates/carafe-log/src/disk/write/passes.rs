//! Passes over the sealed segments: which of them are written again.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use carafe_protocol::Offset;

use crate::disk::options::DiskOptions;
use crate::disk::pace::Pace;
use crate::disk::read::erased::holds_erased;
use crate::disk::read::part::SegmentReader;
use crate::disk::read::superseded::Superseded;
use crate::disk::segment::rewrite::{RewriteError, rewrite};
use crate::disk::segment::sealed::Sealed;
use crate::disk::state::DiskShared;
use crate::disk::write::replace::Replacement;
use crate::disk::write::signal::Signal;
use crate::disk::write::tasks::{Limits, Retry, Task};
use crate::{Entry, Erasures, ReadError};

/// The maximum rate in bytes per second: a part of what a slow disk writes, and 56 GiB an hour.
const RATE: u32 = 16 << 20;

/// The passes of one log.
pub(crate) struct Passes {
    shared: Arc<DiskShared>,
    signal: Arc<Signal>,
    limits: Limits,
    tasks: [(Task, Retry); 3],
    /// A segment that was written again, and whose file does not have its name yet.
    left: Option<Replacement>,
    /// The offset before the newest sealed segment, when segments were last compacted.
    compacted: Offset,
}

/// What a pass over the segments has found.
enum Pass {
    /// No segment has erased content.
    Done,
    /// Erased content is in the active segment, or in one whose index is not written yet.
    Waiting,
}

impl Passes {
    pub(crate) fn new(shared: Arc<DiskShared>, signal: Arc<Signal>, options: &DiskOptions) -> Self {
        let tasks =
            [Task::Replace, Task::Erase, Task::Compact].map(|task| (task, Retry::default()));
        Self { shared, signal, limits: Limits::of(options), tasks, left: None, compacted: 0 }
    }

    /// Does what is due. One task that fails does not delay the others. Returns whether the log is
    /// open.
    pub(crate) fn look(&mut self, now: Instant) -> bool {
        for number in 0..self.tasks.len() {
            let (task, retry) = self.tasks[number];
            // The file of a segment has to be replaced before anything else is written again.
            if !retry.is_due(now) || (self.left.is_some() && task != Task::Replace) {
                continue;
            }
            self.tasks[number].1 = match self.run(task) {
                Ok(()) => Retry::default(),
                Err(RewriteError::Closed) => return false,
                Err(error) => {
                    tracing::warn!(%error, "{}", task.failure());
                    retry.after_failure(now)
                }
            };
        }
        true
    }

    fn run(&mut self, task: Task) -> Result<(), RewriteError> {
        match task {
            Task::Replace => self.left.take().map_or(Ok(()), |left| self.finish(left)),
            Task::Erase => self.erase(),
            Task::Compact => self.compact(),
        }
    }

    /// Removes erased content, if it is time.
    fn erase(&mut self) -> Result<(), RewriteError> {
        if let Some(erasures) = self.shared.view().erasures.clone()
            && self.limits.are_due(&erasures, self.shared.clock.now())
            && matches!(self.erase_all(&erasures)?, Pass::Done)
        {
            self.shared.forget_erasures(&erasures);
        }
        Ok(())
    }

    /// Rewrites segments of which at least half is superseded, when a sixteenth of the segments is
    /// new since the last time: this looks at the indexes of all.
    fn compact(&mut self) -> Result<(), RewriteError> {
        let (view, matchers) = (self.shared.view(), self.shared.compacted.load_full());
        let is_new = |sealed: &&Arc<Sealed>| sealed.segment.header.previous.offset > self.compacted;
        let new = view.sealed.iter().rev().take_while(is_new).count();
        let Some(newest) = view.sealed.back() else { return Ok(()) };
        // The first segment begins after offset 0, so a log with one has none that is new.
        if matchers.is_empty() || new == 0 || new < view.sealed.len() / 16 {
            return Ok(());
        }
        let newest = newest.segment.header.previous.offset;
        let go_on = || self.signal.is_open();
        let found = match Superseded::find(&self.shared, &matchers, self.limits.topics, go_on) {
            Err(ReadError::TooManyLatest { limit }) => {
                // To try again would find as many, until there are other segments.
                self.compacted = newest;
                return Err(RewriteError::TooManyTopics { limit });
            }
            found => found.map_err(of_read)?,
        };
        let superseded = found.ok_or(RewriteError::Closed)?;
        // Loaded after the search, so it has all erasures that the search has applied: what they
        // hide is no newest event, but it is erased, not superseded.
        let erasures = self.shared.view().erasures.clone().unwrap_or_default();
        self.each(&view.sealed, |passes, sealed| {
            passes.compact_one(sealed, &superseded, &erasures)
        })?;
        self.compacted = newest;
        Ok(())
    }

    fn compact_one(
        &mut self,
        sealed: &Arc<Sealed>,
        superseded: &Superseded,
        erasures: &Erasures,
    ) -> Result<(), RewriteError> {
        let Some(part) = self.reader(sealed)? else { return Ok(()) };
        let size = sealed.segment.file.size()?;
        if superseded.bytes(&part).map_err(of_read)? * 2 < size {
            return Ok(());
        }
        self.replace(sealed, |entry| superseded.apply(erasures.apply(entry)))
    }

    /// Does something with each segment. One that cannot be rewritten does not keep others from it.
    fn each(
        &mut self,
        segments: &VecDeque<Arc<Sealed>>,
        mut one: impl FnMut(&mut Self, &Arc<Sealed>) -> Result<(), RewriteError>,
    ) -> Result<(), RewriteError> {
        let mut outcome = Ok(());
        for sealed in segments {
            match one(self, sealed) {
                Ok(()) => {}
                Err(RewriteError::Closed) => return Err(RewriteError::Closed),
                // Its file has to be replaced before anything else is.
                Err(error) if self.left.is_some() => return Err(error),
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    /// A reader of a sealed segment that may be rewritten now; `None` if it was trimmed, or its
    /// index file is still being written, under the name that the new one will have.
    fn reader(&self, sealed: &Arc<Sealed>) -> Result<Option<SegmentReader>, RewriteError> {
        if !self.signal.is_open() {
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

    /// Rewrites all sealed segments with erased content.
    fn erase_all(&mut self, erasures: &Erasures) -> Result<Pass, RewriteError> {
        let (view, mut pass) = (self.shared.view(), Pass::Done);
        let outcome = self.each(&view.sealed, |passes, sealed| {
            if matches!(passes.erase_one(sealed, erasures)?, Pass::Waiting) {
                pass = Pass::Waiting;
            }
            Ok(())
        });
        if holds_erased(&view.active_with_erased(), erasures, |_| true).map_err(of_read)? {
            // The writer ends the segment, and a later pass rewrites it.
            self.shared.seal_after(view.segment.header.previous.offset);
            pass = Pass::Waiting;
        }
        outcome.map(|()| pass)
    }

    fn erase_one(
        &mut self,
        sealed: &Arc<Sealed>,
        erasures: &Erasures,
    ) -> Result<Pass, RewriteError> {
        if sealed.segment.header.previous.offset + 1 >= erasures.newest() {
            return Ok(Pass::Done);
        }
        let Some(part) = self.reader(sealed)? else { return Ok(Pass::Waiting) };
        if !holds_erased(&part, erasures, |topic| sealed.may_have_topic(topic)).map_err(of_read)? {
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
        let pause = |written: u32| self.signal.pause(Duration::from_secs(1) * written / RATE);
        let new = rewrite(&*shared.storage, &old.segment, change, pause)?;
        self.finish(Replacement::new(Arc::clone(old), new))
    }

    /// Replaces the files. What could not be done is tried again by [`Task::Replace`].
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

#[cfg(test)]
mod tests {
    use std::fs;

    use carafe_protocol::{Topic, TopicMatcher, TopicPattern};
    use futures_executor::block_on as wait;

    use super::*;
    use crate::disk::log::DiskLog;
    use crate::disk::maintain::open::open;
    use crate::disk::storage::{Folder, FolderLock, Storage};
    use crate::{Append, Clock, Erase, IdempotencyKey, Publication};

    /// A log without threads, with all but its newest segment sealed.
    struct Log {
        folder: tempfile::TempDir,
        _lock: FolderLock,
        passes: Passes,
    }

    impl Log {
        fn of(publications: Vec<Publication>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let options = DiskOptions::default().with_segment_bytes(2048);
            let log = DiskLog::open(folder.path(), options).unwrap();
            for publication in publications {
                wait(log.append(vec![publication])).unwrap();
            }
            drop(log);
            let (storage, lock) = Folder::lock(folder.path()).unwrap();
            let storage: Arc<dyn Storage> = Arc::new(storage);
            let opened = open(&storage, &options).unwrap();
            let shared = DiskShared::new(storage, opened, Clock::system(), &options);
            shared.compacted.store(Arc::new(vec![compacted()]));
            let passes = Passes::new(Arc::new(shared), Arc::default(), &options);
            Self { folder, _lock: lock, passes }
        }

        fn segments(&self) -> Vec<Arc<Sealed>> {
            self.passes.shared.view().sealed.iter().cloned().collect()
        }

        /// How many segments a task replaces.
        fn replaced_by(&mut self, task: Task) -> usize {
            let before = self.segments();
            self.passes.run(task).unwrap();
            let after = self.segments();
            before.iter().zip(&after).filter(|(one, other)| !Arc::ptr_eq(one, other)).count()
        }
    }

    fn compacted() -> TopicMatcher {
        TopicPattern::new("state/*").unwrap().into()
    }

    fn topic(name: &str) -> Topic {
        Topic::new(name).unwrap()
    }

    fn event(name: &str) -> Publication {
        Publication::new(topic(name), "x".repeat(200))
    }

    #[test]
    fn segments_of_superseded_events_are_compacted_once() {
        let mut log = Log::of((0..40).map(|_| event("state/a")).collect());
        assert!(log.replaced_by(Task::Compact) > 2);
        log.passes.compacted = 0;
        assert_eq!(log.replaced_by(Task::Compact), 0);
    }

    #[test]
    fn a_segment_is_not_rewritten_for_events_that_stay() {
        let key = |number: usize| IdempotencyKey::new(&number.to_string()).unwrap();
        let keyed = (0..40).map(|number| event("state/a").with_key(key(number)));
        let elsewhere = (0..40).map(|_| event("state/b").with_alternates([topic("other")]));
        let private = (0..40)
            .map(|_| event("state/c").with_alternates([topic("state/d")]).with_private(true));
        let others = (0..40).map(|_| event("other"));
        let mut log = Log::of(keyed.chain(elsewhere).chain(private).chain(others).collect());
        assert!(log.segments().len() > 10);
        assert_eq!(log.replaced_by(Task::Compact), 0);
    }

    #[test]
    fn more_topics_than_can_be_compacted_are_refused_and_not_searched_again() {
        let mut log = Log::of((0..40).map(|number| event(&format!("state/{number}"))).collect());
        log.passes.limits.topics = 39;
        let refused = log.passes.run(Task::Compact);
        assert!(matches!(refused, Err(RewriteError::TooManyTopics { limit: 39 })), "{refused:?}");
        assert!(log.passes.run(Task::Compact).is_ok(), "there is no new segment");
        log.passes.limits.topics = 40;
        log.passes.compacted = 0;
        assert!(log.passes.run(Task::Compact).is_ok());
    }

    #[test]
    fn compaction_that_fails_does_not_delay_an_erasure() {
        let erasure = Publication::erase(topic("secret"), Erase::Before);
        let states = || (0..20).map(|_| event("state/a"));
        let secrets = (0..20).map(|_| event("secret"));
        let mut log = Log::of(states().chain(secrets).chain([erasure]).chain(states()).collect());
        let first = log.folder.path().join(&log.segments()[0].segment.name);
        let mut bytes = fs::read(&first).unwrap();
        bytes[500] ^= 1;
        fs::write(&first, bytes).unwrap();
        let mut now = Instant::now();
        // It waits, and compaction fails at each attempt.
        for _ in 0..2000 {
            now += Duration::from_secs(1);
            assert!(log.passes.look(now));
        }
        let compacting = log.passes.tasks.iter().find(|(task, _)| *task == Task::Compact).unwrap();
        assert!(!compacting.1.is_due(now));
        assert!(log.passes.shared.view().erasures.is_some());
        log.passes.limits.within = Duration::ZERO;
        assert!(log.passes.look(now));
        assert!(log.passes.shared.view().erasures.is_none(), "it is carried out");
    }
}
