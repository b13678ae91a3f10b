//! Retention: which segments are stored, and how old ones are removed. Runs on the writer thread.

use std::io;
use std::sync::{Arc, MutexGuard};

use crate::clock_reading::{Reading, duration};
use crate::disk::format::index::milliseconds;
use crate::disk::segment::sealed::Sealed;
use crate::disk::state::{Active, State};
use crate::disk::storage::not_full;
use crate::disk::write::ages::{Seen, Verdict};
use crate::disk::write::writer::{Writer, passing};

impl Writer {
    /// Removes the oldest segments while the log exceeds its limits.
    pub(crate) fn trim(&mut self) -> io::Result<()> {
        let now = self.shared.clock.reading();
        self.end_aged_segment(now)?;
        self.end_erased_segment()?;
        while let Some((oldest, verdict)) = self.beyond(now) {
            let shared = Arc::clone(&self.shared);
            // Until its keys are read, it stays.
            if !self.key_reading.is_done(&shared, &oldest) {
                return Ok(());
            }
            // While a file is being replaced, publishers do not wait for that: this is done after
            // the next commit.
            let Some(files) = shared.try_lock_files() else { return Ok(()) };
            self.report(&oldest, verdict, now);
            self.remove_oldest(&files)?;
            self.ages.forget(oldest.segment.header.previous.offset, verdict, now);
        }
        Ok(())
    }

    fn remove_oldest(&mut self, _files: &MutexGuard<'_, ()>) -> io::Result<()> {
        // Under the lock: before, it may have been written again.
        let Some(oldest) = &self.shared.state().sealed.front().cloned() else { return Ok(()) };
        // Before a view is without them. If removing fails, they are added again.
        self.key_reading.finish(&self.shared, oldest)?;
        let storage = &*self.shared.storage;
        let decides_since = self.shared.trimmed_decides_since();
        // The view first: a reader that loads it from now on does not find the segment, and one
        // with an older view has the file open or gets `Trimmed`.
        self.shared.change(|state| Arc::make_mut(&mut state.sealed).pop_front());
        // A segment that cannot be removed stays in the list. Removing a newer one would leave a
        // hole.
        storage.remove(&oldest.segment.name).inspect_err(|_| {
            self.shared
                .change(|state| Arc::make_mut(&mut state.sealed).push_front(Arc::clone(oldest)));
        })?;
        self.shared.forget_life(oldest.last_offset(), decides_since);
        self.shared.change(|state| state.forget_erasures_to(oldest.last_offset()));
        // Without this sync, a crash could bring this segment back and lose the next one.
        storage.sync().map_err(not_full)?;
        // An index without a segment is removed when the log is opened.
        if let Err(error) = oldest.remove_derived(storage) {
            tracing::warn!(
                %error,
                segment = oldest.segment.name,
                "the index of a trimmed segment cannot be removed"
            );
        }
        Ok(())
    }

    /// Removes the oldest segments until a new active segment of this size fits into the limit.
    pub(crate) fn make_room(&mut self, size: u32) -> io::Result<()> {
        loop {
            let oldest = {
                let state = self.shared.state();
                // The active segment as sealed, without its allocated rest, plus its successor.
                let active = u64::from(state.active.end.at) + u64::from(size);
                if !self.takes_too_much(&state, active) {
                    return Ok(());
                }
                state.sealed.front().cloned()
            };
            let Some(oldest) = oldest else { return Ok(()) };
            let shared = Arc::clone(&self.shared);
            self.remove_oldest(&shared.lock_files())?;
            let now = self.shared.clock.reading();
            self.ages.forget(oldest.segment.header.previous.offset, Verdict::Aged, now);
        }
    }

    /// The space of the active segment. Once it is nearly full, the next one counts, too: space for
    /// it is freed between two commits, so that no publisher waits for that.
    fn active_bytes(&self, end: u32) -> u64 {
        let (end, room) = (u64::from(end), u64::from(self.room_to));
        if end * 4 > room * 3 { end + u64::from(self.options.segment_size()) } else { room }
    }

    /// Whether the log exceeds its limit of bytes, if the active segment takes `active` bytes.
    fn takes_too_much(&self, state: &State, active: u64) -> bool {
        let sealed: u64 = state.sealed.iter().map(|sealed| sealed.bytes).sum();
        // `sealed.bytes` includes index and filter; those of the active segment are written when it
        // is sealed, and count already.
        let more = active + state.active.index.file_bytes() + self.shared.rewriting_bytes();
        sealed + more > self.options.bytes
    }

    /// The time up to which entries may be removed for their age, in milliseconds since 1970: a log
    /// that is opened again has to see that it lacks no keys.
    fn settled_up_to(&self) -> u64 {
        milliseconds(self.shared.settled_up_to())
    }

    fn beyond(&self, now: Reading) -> Option<(Arc<Sealed>, Verdict)> {
        let state = self.shared.state();
        let oldest = state.sealed.front()?;
        let sealed: u64 = state.sealed.iter().map(|sealed| u64::from(sealed.published)).sum();
        // Not below zero: the oldest segment is part of the sum. What is left must reach the limit,
        // or trimming would keep fewer entries than were asked for.
        let left = sealed - u64::from(oldest.published) + state.active.published();
        let is_over = self.takes_too_much(&state, self.active_bytes(state.active.end.at))
            || left >= self.options.entries;
        let verdict = if is_over {
            Verdict::Aged
        } else {
            self.ages.judge(state.seen(), now, || self.settled_up_to())
        };
        (verdict != Verdict::Kept).then(|| (Arc::clone(oldest), verdict))
    }

    /// Whether the active segment has so many entries that trimming by whole segments would be too
    /// coarse with more.
    pub(crate) fn has_enough_entries(&self) -> bool {
        self.shared.state().active.published() >= self.options.segment_entries()
    }

    /// Seals an active segment that is too old. Without new entries, it would never be trimmed.
    fn end_aged_segment(&mut self, now: Reading) -> io::Result<()> {
        let aged = {
            let state = self.shared.state();
            let active = [state.active.seen()].into_iter();
            let verdict = || self.ages.judge(active, now, || self.settled_up_to());
            state.active.index.entries() > 0 && verdict() != Verdict::Kept
        };
        if !aged {
            return Ok(());
        }
        self.end_segment()
    }

    /// Seals an active segment with erased content, so that it can be written again without it.
    fn end_erased_segment(&mut self) -> io::Result<()> {
        let is_due = {
            let state = self.shared.state();
            self.shared.is_to_be_sealed(&state.active.segment) && state.active.index.entries() > 0
        };
        if is_due { self.end_segment() } else { Ok(()) }
    }

    /// Seals the active segment, if there is room for another one.
    fn end_segment(&mut self) -> io::Result<()> {
        match self.begin_segment(0) {
            Err(error) if passing(&error).is_some() => Ok(()),
            begun => begun.map(drop),
        }
    }

    fn report(&self, oldest: &Sealed, verdict: Verdict, now: Reading) {
        if let Verdict::Doubtful(age) = verdict {
            tracing::warn!(
                segment = oldest.segment.name,
                ?age,
                jump = ?duration(now.doubt),
                "removing events that are too old only by the system clock; if that clock is \
                 wrong, stop the hub within a minute"
            );
        }
    }
}

impl State {
    /// The times of all segments, the oldest first.
    fn seen(&self) -> impl Iterator<Item = Seen> {
        let sealed = self.sealed.iter().map(|sealed| Seen {
            previous: sealed.segment.header.previous.offset,
            newest: sealed.summary.newest,
        });
        sealed.chain((self.active.index.entries() > 0).then(|| self.active.seen()))
    }
}

impl Active {
    /// The number of entries that clients published, and not the hub itself.
    fn published(&self) -> u64 {
        u64::from(self.index.entries().saturating_sub(self.index.of_hub()))
    }

    pub(crate) fn seen(&self) -> Seen {
        Seen { previous: self.segment.header.previous.offset, newest: self.newest }
    }
}
