//! Repeats what the hub itself publishes while the engine of a cluster is away.

use std::time::Duration;

use carafe_hub::PublishError;
use carafe_log::AppendError;
use tokio::time::{Instant, sleep};

/// For how long something is published again: longer than an engine needs to elect a leader.
const PATIENCE: Duration = Duration::from_secs(30);

/// The pause before each attempt but the first.
const PAUSE: Duration = Duration::from_secs(1);

/// Says whether something is to be published again. It has to be harmless if it was stored before.
pub(crate) struct Repeats {
    until: Instant,
}

impl Repeats {
    pub(crate) fn new() -> Self {
        Self { until: Instant::now() + PATIENCE }
    }

    /// Waits until it is time for another attempt. Returns `false` if there is to be none.
    pub(crate) async fn wait(&self) -> bool {
        let goes_on = Instant::now() < self.until;
        if goes_on {
            sleep(PAUSE).await;
        }
        goes_on
    }

    /// The same after an error, which may pass or not.
    pub(crate) async fn wait_after(&self, error: &PublishError) -> bool {
        let passes =
            matches!(error, PublishError::Append(AppendError::Unavailable | AppendError::Busy));
        passes && self.wait().await
    }
}
