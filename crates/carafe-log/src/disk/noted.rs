//! What a supplied log has noted of how far it was supplied.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use carafe_protocol::Offset;

use crate::disk::format::supplied_mark::SuppliedMark;
use crate::disk::state::DiskShared;
use crate::disk::storage::Storage;

/// The newest mark.
pub(crate) struct Noted {
    // Held while the mark is written: marks replace each other in order. Nothing else is locked
    // under it.
    mark: Mutex<Option<SuppliedMark>>,
}

impl Noted {
    /// What was noted before the log was closed. If it cannot be read, that is nothing.
    pub(crate) fn read(storage: &dyn Storage) -> Self {
        let mark = SuppliedMark::read(storage).unwrap_or_else(|error| {
            tracing::warn!(%error, "the mark of what was supplied cannot be read");
            None
        });
        Self { mark: Mutex::new(mark) }
    }

    /// Notes that everything up to an offset was supplied.
    pub(crate) fn note(&self, up_to: Offset, shared: &DiskShared) -> io::Result<()> {
        let mark = SuppliedMark { tail: shared.view().tail, up_to };
        let mut noted = self.lock();
        if up_to > mark.tail.offset && *noted != Some(mark) {
            mark.write(&*shared.storage)?;
            *noted = Some(mark);
        }
        Ok(())
    }

    /// The offset up to which everything was supplied, at least.
    pub(crate) fn up_to(&self, shared: &DiskShared) -> Offset {
        let tail = shared.view().tail;
        let noted = self.lock().filter(|mark| mark.tail == tail);
        noted.map_or(tail.offset, |mark| mark.up_to.max(tail.offset))
    }

    fn lock(&self) -> MutexGuard<'_, Option<SuppliedMark>> {
        self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
