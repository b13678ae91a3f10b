//! What a subscriber is told when history it needs is gone.

use carafe_protocol::Position;
use serde::{Serialize, Serializer};

/// Requested history is gone: the subscriber is told so before anything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// After which ID the subscriber wanted to go on.
    pub requested: String,
    /// The oldest event that is kept, of any topic.
    #[serde(serialize_with = "as_text")]
    pub oldest: Option<Position>,
    /// Why the history is gone.
    pub reason: GapReason,
    /// After which position the stream goes on.
    #[serde(skip)]
    pub resume_after: Position,
}

/// Why requested history is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GapReason {
    /// The log kept it once, and has trimmed it.
    Trimmed,
    /// The log never gave out this ID: another log did, or an earlier life of this one.
    Foreign,
    /// The log has lost its newest events since, as one does that is restored from a backup. The
    /// stream goes on after the last event that is known to be the same; where that cannot be told,
    /// after the newest. Or events in the middle of the log were damaged and given up: the stream
    /// goes on behind them.
    Lost,
}

impl Gap {
    /// The gap as a JSON object in one line, as the event `carafe.gap` has it.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an object of strings is always JSON")
    }
}

fn as_text<S: Serializer>(position: &Option<Position>, serializer: S) -> Result<S::Ok, S::Error> {
    position.map(|position| position.to_string()).serialize(serializer)
}
