//! The thread that removes erased and superseded content from the disk: it writes sealed segments
//! again, one at a time and at a limited rate, and replaces their files.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::disk::options::DiskOptions;
use crate::disk::state::DiskShared;
use crate::disk::write::passes::Passes;
use crate::disk::write::signal::Signal;
use crate::panics::caught;
use crate::readers::give_way;

/// The time between two looks at the erasures.
const LOOK: Duration = Duration::from_secs(1);

/// The thread that rewrites segments.
pub(crate) struct Rewriter {
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

impl Rewriter {
    pub(crate) fn start(shared: Arc<DiskShared>, options: &DiskOptions) -> io::Result<Self> {
        let signal = Arc::<Signal>::default();
        let passes = Passes::new(shared, Arc::clone(&signal), options);
        let thread = thread::Builder::new().name("carafe-log-erase".into());
        let own = Arc::clone(&signal);
        let thread = thread.spawn(move || run(passes, &own))?;
        Ok(Self { signal, thread: Some(thread) })
    }

    /// Tells the thread that an erasure was stored.
    pub(crate) fn wake(&self) {
        self.signal.wake();
    }
}

impl Drop for Rewriter {
    /// Ends the thread. A segment that is being written stays as it was.
    fn drop(&mut self) {
        self.signal.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Runs until the log is closed. After a panic nothing is rewritten any more, and erased content
/// stays on the disk until the next start; readers still do not get it.
fn run(mut passes: Passes, signal: &Signal) {
    give_way();
    let run = || while signal.wait(LOOK) && passes.look(Instant::now()) {};
    if let Err(panic) = caught(run) {
        tracing::error!(
            panic,
            "the thread that rewrites segments has ended: erased events stay on the disk until the \
             next start"
        );
    }
}
