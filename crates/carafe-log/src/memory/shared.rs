//! The state that a log in memory shares with its reader threads.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::limits::MemoryLimits;
use super::state::State;
use crate::ReadError;
use crate::readers::Readers;

/// The number of threads for reads that take longer than some tens of microseconds.
const READERS: usize = 2;

/// The state of a log in memory, shared by the log and the reads on its threads.
pub(super) struct MemoryShared {
    // One lock orders appends, trimming and the calls of followers. Reads hold it only to copy out
    // references to some entries.
    state: Mutex<State>,
    pub(super) limits: MemoryLimits,
    // A hub whose clients never read long history needs no threads.
    readers: OnceLock<Result<Readers, String>>,
}

impl MemoryShared {
    pub(super) fn new(state: State, limits: MemoryLimits) -> Self {
        Self { state: Mutex::new(state), limits, readers: OnceLock::new() }
    }

    /// Locks the state.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A follower may have panicked under the lock. The state is consistent then: entries are
        // stored before followers are called.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reader threads, which start at the first call.
    pub(super) fn readers(&self) -> Result<&Readers, ReadError> {
        let readers =
            self.readers.get_or_init(|| Readers::start(READERS).map_err(|error| error.to_string()));
        readers.as_ref().map_err(|error| {
            ReadError::Disk(format!("no thread can be started for it: {error}").into())
        })
    }
}
