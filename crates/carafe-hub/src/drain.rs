//! The orderly end of all streams.

use std::sync::Arc;

use crate::hub::Shared;

/// A hub that takes no new subscriptions and no new events.
///
/// The driver ends the open streams at its own pace; each ends when it has got all that it is owed.
#[derive(Clone)]
pub struct Drain {
    shared: Arc<Shared>,
}

impl Drain {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// How many subscriptions are still open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.state().streams()
    }

    /// Lets up to `count` more streams end, and says how many that were.
    pub fn end(&self, count: usize) -> usize {
        let (ended, wakers) = self.shared.state().end(count);
        wakers.into_iter().for_each(std::task::Waker::wake);
        ended
    }
}
