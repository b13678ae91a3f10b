//! What a producer is told when it is asked to stop.

use carafe_hub::Hub;
use carafe_protocol::{Position, Topic};
use serde::Serialize;

/// A request to stop, as the producer receives it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Stop {
    topic: String,
    reason: Option<String>,
    position: String,
}

impl Stop {
    /// The request to stop at this position.
    pub(crate) async fn read(hub: &Hub, topic: &Topic, position: Position) -> Self {
        // A log that cannot be read keeps no producer from stopping.
        let entry = hub.entry_at(position).await.ok().flatten();
        let reason = entry.map(|entry| entry.data().to_owned()).filter(|reason| !reason.is_empty());
        Self { topic: topic.to_string(), reason, position: position.to_string() }
    }
}
