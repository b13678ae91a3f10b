//! Replaces the file of a segment by one that was written again.

use std::io;
use std::sync::Arc;

use crate::disk::pace::Pace;
use crate::disk::segment::rewrite::unfinished_name;
use crate::disk::segment::sealed::Sealed;
use crate::disk::state::DiskShared;
use crate::disk::storage::Storage;

/// A segment that was written again, on its way to the name of the old one.
///
/// Its steps, each of which may be tried again after an error:
/// 1. Readers get the new segment, with its index in memory. Those that still have a view with the
///    old one go on with its open file.
/// 2. The index and the filter of the old file are removed, durably: the records have other places
///    in the new file, and a wrong index would not be noticed.
/// 3. The new file is renamed over the old one, durably. A crash before leaves the old file,
///    without an index; the index is made again when the log is opened.
/// 4. The index and the filter of the new file are written.
pub(crate) struct Replacement {
    old: Arc<Sealed>,
    new: Arc<Sealed>,
    done: Step,
}

/// The steps that are done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    None,
    Shown,
    Removed,
    Renamed,
    Durable,
}

impl Replacement {
    pub(crate) fn new(old: Arc<Sealed>, new: Sealed) -> Self {
        Self { old, new: Arc::new(new), done: Step::None }
    }

    /// Does the steps that are left.
    ///
    /// # Errors
    /// When a step has failed.
    pub(crate) fn go_on(&mut self, shared: &DiskShared, pace: &Pace<'_>) -> io::Result<()> {
        let storage = &*shared.storage;
        {
            // Trimming waits: it must not remove the old file between the check and the renaming,
            // which would bring a trimmed segment back.
            let _files = shared.lock_files();
            if self.done == Step::None {
                if !shared.replace(&self.old, &self.new) {
                    return self.discard(storage);
                }
                self.done = Step::Shown;
            } else if !shared.has(&self.new) {
                // Trimmed meanwhile.
                return self.discard(storage);
            }
            if self.done == Step::Shown {
                self.old.remove_derived(storage)?;
                storage.sync()?;
                self.done = Step::Removed;
            }
            if self.done == Step::Removed {
                storage.rename(&unfinished_name(&self.old.segment), &self.old.segment.name)?;
                self.done = Step::Renamed;
            }
            if self.done == Step::Renamed {
                storage.sync()?;
                self.done = Step::Durable;
            }
        }
        self.new.settle(storage, pace)?;
        Ok(())
    }

    /// Removes the copy of a segment that was trimmed meanwhile, unless it has the segment's name,
    /// and was removed under that.
    fn discard(&self, storage: &dyn Storage) -> io::Result<()> {
        match storage.remove(&unfinished_name(&self.old.segment)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
