//! What has become of a feed.

use crate::control::Stop;
use crate::publisher_error::PublisherError;

/// What has become of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fed {
    /// How many events of the feed are stored.
    pub events: u64,
    /// The position of the last event or of the end, as far as the hub has told it.
    pub position: Option<String>,
}

/// Why a feed takes no more events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// Somebody asks the producer to stop. All events that were sent before are stored. The topic
    /// is still open: end it.
    #[error("the producer is asked to stop")]
    Stopped(Stop),
    /// An event cannot be stored. Those before it are stored, and those after it are not.
    #[error(transparent)]
    Publisher(#[from] PublisherError),
}
