//! Appends a batch of an ingest request, and finds the event that the log rejects.

use std::time::{Duration, Instant};

use carafe_hub::{Hub, PublishError};
use carafe_log::{AppendError, Publication};
use tokio::time::sleep;

use crate::answer::problem::Problem;
use crate::answer::progress::Progress;
use crate::api::ingest::events::Batch;
use crate::api::publication::not_stored;
use crate::observe::metrics::Metrics;

/// How often a log that has too much to do is asked again, and after which pause: 5 s in all.
const ATTEMPTS: usize = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// What has become of a batch: the events before the one that failed are stored.
pub(crate) struct Appended {
    pub(crate) progress: Progress,
    pub(crate) failed: Option<Problem>,
    /// Whether it is unknown if the event that failed, and those behind it, are stored.
    pub(crate) is_unsure: bool,
}

/// Appends a batch in order, up to the first event that the log rejects.
///
/// The log takes a batch as a whole or not at all. One that it rejects for one of its events is
/// divided, so that the events before that one are stored as if each had come alone.
pub(crate) async fn append(hub: Hub, metrics: Metrics, batch: Batch) -> Appended {
    let mut progress = Progress::default();
    let mut places = batch.places.into_iter();
    let mut parts = vec![batch.publications];
    while let Some(mut part) = parts.pop() {
        let start = Instant::now();
        match publish(&hub, &part).await {
            Ok(appended) => {
                metrics.stored(start);
                progress.add(&appended);
                places.by_ref().take(part.len()).for_each(drop);
            }
            Err(error) if part.len() > 1 && is_of_one_event(&error) => {
                let second = part.split_off(part.len() / 2);
                parts.extend([second, part]);
            }
            Err(error) => {
                let is_unsure = is_unsure(&error);
                let place = places.next().filter(|_| is_of_one_event(&error));
                let problem = not_stored(error);
                let failed = Some(place.into_iter().fold(problem, Problem::at));
                return Appended { progress, failed, is_unsure };
            }
        }
    }
    Appended { progress, failed: None, is_unsure: false }
}

/// Publishes a batch. A log that has too much to do makes the producer wait.
async fn publish(
    hub: &Hub,
    batch: &[Publication],
) -> Result<Vec<carafe_log::Appended>, PublishError> {
    for _ in 1..ATTEMPTS {
        match hub.publish_all(batch.to_vec()).await {
            Err(PublishError::Append(AppendError::Busy)) => sleep(PAUSE).await,
            answer => return answer,
        }
    }
    hub.publish_all(batch.to_vec()).await
}

/// Whether the batch may be stored, although it has failed.
fn is_unsure(error: &PublishError) -> bool {
    match error {
        PublishError::WrongCount { .. } => true,
        PublishError::Append(error) => {
            matches!(error, AppendError::Unavailable | AppendError::Failed(_))
        }
        _ => false,
    }
}

/// Whether another event might be stored all the same.
fn is_of_one_event(error: &PublishError) -> bool {
    match error {
        PublishError::Draining | PublishError::WrongCount { .. } => false,
        PublishError::Append(error) => {
            matches!(error, AppendError::TooLarge { .. } | AppendError::Ended { .. })
        }
        _ => true,
    }
}
