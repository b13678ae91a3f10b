//! Which segments are kept, and how the others are removed.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::index::{Index, milliseconds};
use super::sealed::Sealed;
use super::writer::{Writer, passing};

impl Writer {
    /// Forgets the oldest segments while they are beyond what is to be kept.
    pub(crate) fn trim(&mut self) -> io::Result<()> {
        self.end_aged_segment()?;
        while let Some(oldest) = self.beyond() {
            let storage = &*self.shared.storage;
            self.shared.state().sealed.pop_front();
            storage.remove(&oldest.segment.name)?;
            storage.remove(&oldest.segment.index_name())?;
            // Without it, a crash could bring this one back and lose the next.
            storage.sync()?;
        }
        Ok(())
    }

    fn beyond(&self) -> Option<Arc<Sealed>> {
        let state = self.shared.state();
        let oldest = state.sealed.front()?;
        let bytes: u64 = state.sealed.iter().map(|sealed| sealed.bytes).sum();
        let entries: u64 = state.sealed.iter().map(|sealed| u64::from(sealed.summary.entries)).sum();
        let left = entries - u64::from(oldest.summary.entries) + u64::from(state.active.index.entries());
        let beyond = bytes + u64::from(state.active.end.at) > self.options.bytes
            || left >= self.options.entries
            || self.is_aged(oldest.summary.newest);
        beyond.then(|| Arc::clone(oldest))
    }

    /// Entries age in the active segment too, if no others come.
    fn end_aged_segment(&mut self) -> io::Result<()> {
        let aged = {
            let state = self.shared.state();
            state.active.index.entries() > 0 && self.is_aged(state.active.newest)
        };
        if !aged {
            return Ok(());
        }
        match self.begin_segment(0) {
            Err(error) if passing(&error).is_some() => Ok(()),
            begun => begun.map(drop),
        }
    }

    fn is_aged(&self, newest: u64) -> bool {
        let since = Duration::from_millis(milliseconds(SystemTime::now()).saturating_sub(newest));
        self.options.age.is_some_and(|age| since > age)
    }
}
