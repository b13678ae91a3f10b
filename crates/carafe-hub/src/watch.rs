//! Wakes whoever feeds topics when something happens to those, or to the hub.

use std::sync::Arc;

use carafe_protocol::Topic;
use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::hub::Hub;
use crate::inner::HubInner;

/// Wakes when one of its topics may have ended or been told to stop, and when the hub begins to
/// drain. Ask the hub what has happened.
///
/// ```
/// use carafe_hub::Hub;
/// use carafe_log::MemoryLog;
/// use carafe_protocol::Topic;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::new(MemoryLog::default());
/// let watch = hub.watch([&Topic::new("answers/7")?]);
/// let _drain = hub.drain();
/// watch.changed().await;
/// assert!(hub.is_draining());
/// # Ok(()) }
/// ```
pub struct TopicWatch {
    hub: Arc<HubInner>,
    id: u64,
    topics: SmallVec<[Topic; 1]>,
    notify: Arc<Notify>,
}

impl Hub {
    /// Watches topics, from now on.
    pub fn watch<'t>(&self, topics: impl IntoIterator<Item = &'t Topic>) -> TopicWatch {
        let mut topics: SmallVec<[Topic; 1]> = topics.into_iter().cloned().collect();
        topics.sort_unstable();
        topics.dedup();
        let (id, notify) = self.inner.watches.add(&topics);
        TopicWatch { hub: Arc::clone(&self.inner), id, topics, notify }
    }
}

impl TopicWatch {
    /// Waits for the next change. One that came since the last call is not missed.
    pub async fn changed(&self) {
        self.notify.notified().await;
    }
}

impl Drop for TopicWatch {
    fn drop(&mut self) {
        self.hub.watches.remove(self.id, &self.topics);
    }
}
