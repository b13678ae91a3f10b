//! The orderly end of all streams, paced by the driver of the drain.

use std::sync::Arc;
use std::task::Waker;

use crate::inner::HubInner;

/// A hub that rejects new subscriptions and new events.
///
/// The driver ends the open streams at its own pace, so that their clients do not reconnect
/// elsewhere all at once. Each stream ends when it has received everything that was published.
///
/// ```
/// use carafe_hub::{Hub, Subscribe};
/// use carafe_log::MemoryLog;
/// use futures_util::StreamExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::new(MemoryLog::default());
/// let subscription = hub.subscribe(Subscribe::to_everything()).await?;
///
/// let drain = hub.drain();
/// assert_eq!(drain.end(100), 1);
/// assert_eq!(subscription.count().await, 1, "the position, and then the end");
/// assert_eq!(drain.open(), 0);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Drain {
    hub: Arc<HubInner>,
}

impl Drain {
    pub(crate) fn new(hub: Arc<HubInner>) -> Self {
        Self { hub }
    }

    /// How many subscriptions are still open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.hub.state().wakeups.streams()
    }

    /// Lets up to `count` more streams end, and returns how many those are.
    pub fn end(&self, count: usize) -> usize {
        let (ended, wakers) = self.hub.state().end(count);
        // The guard was a temporary of the statement before, so the lock is free here.
        wakers.into_iter().for_each(Waker::wake);
        ended
    }
}
