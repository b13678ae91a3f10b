//! What is left to do when the runtime has ended: wait until the log on disk is closed, and start
//! again if that is wanted.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use carafe_cluster::Divergence;
use tokio::time::timeout;

/// The longest delay, for a disk that does not answer.
const TIMEOUT: Duration = Duration::from_secs(10);

type Closed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Set by the command, and read by `main`. Clones are handles to the same.
#[derive(Clone, Default)]
pub(crate) struct Closing(Arc<Rest>);

#[derive(Default)]
struct Rest {
    /// Completes when the log is closed.
    closed: Mutex<Option<Closed>>,
    /// Why the program starts again, if it does.
    restart: Mutex<Option<Divergence>>,
}

impl Closing {
    pub(crate) fn wait_for(&self, closed: impl Future<Output = ()> + Send + 'static) {
        *self.0.closed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::pin(closed));
    }

    /// Starts the program again after that.
    pub(crate) fn start_again(&self, why: Divergence) {
        *self.lock_restart() = Some(why);
    }

    /// Does not start the program again.
    pub(crate) fn end(&self) {
        *self.lock_restart() = None;
    }

    /// Why the program is to start again, if it is.
    pub(crate) fn restart(&self) -> Option<Divergence> {
        *self.lock_restart()
    }

    fn lock_restart(&self) -> MutexGuard<'_, Option<Divergence>> {
        self.0.restart.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks this thread until the log is closed or the timeout is over. The runtime of the
    /// command has ended by then, so this starts another one for the timer.
    pub(crate) fn wait(&self) {
        let Some(closed) = self.0.closed.lock().unwrap_or_else(PoisonError::into_inner).take()
        else {
            return;
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let in_time = runtime
            .map(|runtime| runtime.block_on(async { timeout(TIMEOUT, closed).await.is_ok() }));
        if !in_time.unwrap_or(false) {
            tracing::warn!(
                "the log was not closed in time; the next start recovers it as after a crash"
            );
        }
    }
}
