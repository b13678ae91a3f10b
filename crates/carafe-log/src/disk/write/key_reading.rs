//! Reads the keys of the segment that is trimmed next, on a thread of its own: publishers do not
//! wait for that.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use carafe_protocol::Offset;

use crate::disk::segment::sealed::Sealed;
use crate::disk::state::DiskShared;

/// The segment whose keys are being read, by the offset before it.
#[derive(Default)]
pub(crate) struct KeyReading(Option<(Offset, JoinHandle<io::Result<()>>)>);

impl KeyReading {
    /// Whether a segment can be trimmed without a pause. If not, begins to read it.
    pub(crate) fn is_done(&mut self, shared: &Arc<DiskShared>, oldest: &Arc<Sealed>) -> bool {
        let offset = oldest.segment.header.previous.offset;
        match &self.0 {
            _ if !shared.has_deciding_keys(oldest) => true,
            Some((of, reading)) if *of == offset => reading.is_finished(),
            _ => {
                let (own, segment) = (Arc::clone(shared), Arc::clone(oldest));
                let thread = thread::Builder::new().name("carafe-log-keys".into());
                let reading = thread.spawn(move || own.remember_keys(&segment));
                // Without a thread, the segment is read when it is removed.
                self.0 = reading.ok().map(|reading| (offset, reading));
                self.0.is_none()
            }
        }
    }

    /// Makes sure that the keys of a segment are remembered.
    pub(crate) fn finish(&mut self, shared: &DiskShared, oldest: &Arc<Sealed>) -> io::Result<()> {
        let offset = oldest.segment.header.previous.offset;
        match self.0.take_if(|(of, _)| *of == offset) {
            Some((_, reading)) => {
                let panicked = |_| Err(io::Error::other("the thread that reads keys has panicked"));
                reading.join().unwrap_or_else(panicked)
            }
            None if shared.has_deciding_keys(oldest) => shared.remember_keys(oldest),
            None => Ok(()),
        }
    }
}
