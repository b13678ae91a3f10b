//! Remembers the keys of a segment that is trimmed.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use crate::ReadError;
use crate::disk::format::index::milliseconds;
use crate::disk::read::part::{ROWS, SegmentReader};
use crate::disk::segment::sealed::Sealed;
use crate::disk::state::DiskShared;
use crate::disk::view::Place;
use crate::remembered::{decides_since, settled_up_to};

impl DiskShared {
    /// The time up to which entries decide no more over what is stored next.
    pub(crate) fn decides_since(&self) -> SystemTime {
        decides_since(&self.clock, self.key_window)
    }

    /// The same of entries that are trimmed. `None` if none of these ever decides, since the log is
    /// not supplied.
    pub(crate) fn trimmed_decides_since(&self) -> Option<SystemTime> {
        self.supplied.then(|| self.decides_since())
    }

    /// The time of an entry up to which neither it nor any entry before it decides any more.
    pub(crate) fn settled_up_to(&self) -> SystemTime {
        settled_up_to(&self.clock, self.key_window)
    }

    /// Whether keys of a segment may decide over what is supplied after it is removed.
    pub(crate) fn has_deciding_keys(&self, oldest: &Sealed) -> bool {
        self.trimmed_decides_since()
            .is_some_and(|since| oldest.summary.newest > milliseconds(since))
    }

    /// Remembers the keys of the oldest segment, which is about to be removed, as far as they
    /// decide over what is supplied.
    pub(crate) fn remember_keys(&self, oldest: &Arc<Sealed>) -> io::Result<()> {
        let Some(since) = self.trimmed_decides_since() else { return Ok(()) };
        let view = {
            // An erasure is in this view, or it is noted for the keys that are read in it.
            let state = self.state();
            self.remembered().await_keys(true);
            state.view()
        };
        let part = self.part(&view, &Place::Sealed(Arc::clone(oldest)));
        let read = part.and_then(|part| self.remember_keys_of(&part, since));
        self.remembered().await_keys(false);
        // What a node does not know it decides otherwise than the others: better not at all.
        read.map_err(|error| of_disk(&error))
    }

    fn remember_keys_of(&self, part: &SegmentReader, since: SystemTime) -> Result<(), ReadError> {
        let mut first = 0;
        while part.has_keys() && first < part.entries() {
            let next = first.saturating_add(ROWS).min(part.entries());
            let rows = part.row_run(first..next)?;
            // Reading is not done under the lock.
            let mut keyed = Vec::new();
            part.read(&rows, |entry| {
                keyed.extend(
                    (entry.publication.key().is_some() && entry.time > since).then_some(entry),
                );
                true
            })?;
            let mut remembered = self.remembered();
            keyed.iter().for_each(|entry| remembered.add(entry));
            first = next;
        }
        Ok(())
    }

    /// Finds out whether a log that was opened has trimmed entries that still decide over what is
    /// supplied: it does not know their keys and ends any more.
    pub(crate) fn find_lacking_keys(&self) -> Result<(), ReadError> {
        let view = self.view();
        // The start of a log that has trimmed nothing is no entry, and has no nonce.
        if !self.supplied || view.start().nonce == 0 {
            return Ok(());
        }
        let oldest = view.span().oldest.map(|oldest| self.entry_at(&view, oldest.offset));
        let settled = self.settled_up_to();
        let lacks = oldest.transpose()?.flatten().is_none_or(|oldest| oldest.time > settled);
        self.lacks_keys.store(lacks, Ordering::Relaxed);
        Ok(())
    }
}

/// The error of the operating system, if there is one: it tells whether it may pass.
fn of_disk(error: &ReadError) -> io::Error {
    let ReadError::Disk(disk) = error else { return io::Error::other(error.to_string()) };
    let source = disk.source().and_then(|source| source.downcast_ref::<io::Error>());
    let code = source.and_then(io::Error::raw_os_error);
    code.map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error)
}
