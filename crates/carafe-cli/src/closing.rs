//! Delays the exit of the process until the log on disk is closed.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

/// The longest delay, for a disk that does not answer.
const TIMEOUT: Duration = Duration::from_secs(10);

type Closed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Completes when the log is closed; set by the command, awaited by `main`.
#[derive(Clone, Default)]
pub(crate) struct Closing(Arc<Mutex<Option<Closed>>>);

impl Closing {
    pub(crate) fn wait_for(&self, closed: impl Future<Output = ()> + Send + 'static) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::pin(closed));
    }

    /// Blocks this thread until the log is closed or the timeout is over. The runtime of the
    /// command has ended by then, so this starts another one for the timer.
    pub(crate) fn wait(&self) {
        let Some(closed) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else {
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
