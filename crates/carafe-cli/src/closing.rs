//! The end of the process waits until the log is closed in order.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

/// What hangs for longer than this is not waited for.
const LONGEST: Duration = Duration::from_secs(10);

type Closed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What has to be closed before the process may end.
#[derive(Clone, Default)]
pub(crate) struct Closing(Arc<Mutex<Option<Closed>>>);

impl Closing {
    pub(crate) fn wait_for(&self, closed: impl Future<Output = ()> + Send + 'static) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::pin(closed));
    }

    /// Waits on this thread, after the runtime has ended.
    pub(crate) fn wait(&self) {
        let Some(closed) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let in_time = runtime
            .map(|runtime| runtime.block_on(async { timeout(LONGEST, closed).await.is_ok() }));
        if !in_time.unwrap_or(false) {
            tracing::warn!("the log is not closed yet; it will be opened as after a crash");
        }
    }
}
