//! What a stream reports when requested history is gone.

use carafe_protocol::Position;
use serde::{Serialize, Serializer};

use crate::json_line::json_line;

/// Requested history is gone. The stream reports this before it delivers anything else.
///
/// ```
/// use carafe_hub::{Delivery, GapReason, Hub, Start, Subscribe};
/// use carafe_log::MemoryLog;
/// use futures_util::StreamExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::new(MemoryLog::default());
/// let start = Start::AfterId("of another hub".into());
/// let mut subscription = hub.subscribe(Subscribe::to_everything().from(start)).await?;
///
/// let Some(Delivery::Gap(gap)) = subscription.next().await else { panic!() };
/// assert_eq!(gap.reason, GapReason::Foreign);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Gap {
    /// The ID after which the subscriber wanted to resume.
    pub requested: String,
    /// The oldest entry that the log keeps, of any topic.
    #[serde(serialize_with = "as_text")]
    pub oldest: Option<Position>,
    /// Why the history is gone.
    pub reason: GapReason,
    /// The position after which the stream resumes.
    #[serde(skip)]
    pub resume_after: Position,
}

/// Why requested history is gone.
///
/// ```
/// use carafe_hub::GapReason;
///
/// assert_eq!(serde_json::to_string(&GapReason::Trimmed)?, "\"trimmed\"");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[serde(rename_all = "lowercase")]
pub enum GapReason {
    /// The log had the history, and has trimmed it.
    Trimmed,
    /// The log never gave out this ID: another log did, or an earlier life of this one.
    Foreign,
    /// The log has lost its newest events, as a log that is restored from a backup has. The stream
    /// resumes after the last event that is known to be the same, or after the newest event if that
    /// is unknown. Or events in the middle of the log were damaged: the stream resumes behind them.
    Lost,
    /// Events were erased. The stream resumes after them.
    Erased,
}

impl Gap {
    /// A gap of a log that keeps no entry; see [`with_oldest`](Self::with_oldest).
    #[must_use]
    pub fn new(requested: impl Into<String>, reason: GapReason, resume_after: Position) -> Self {
        Self { requested: requested.into(), oldest: None, reason, resume_after }
    }

    /// Sets the oldest entry that the log keeps, if it keeps any.
    #[must_use]
    pub fn with_oldest(mut self, oldest: impl Into<Option<Position>>) -> Self {
        self.oldest = oldest.into();
        self
    }

    /// The gap as a JSON object in one line, as in the data of the event `carafe.gap`.
    #[must_use]
    pub fn to_json(&self) -> String {
        json_line(self)
    }
}

fn as_text<S: Serializer>(position: &Option<Position>, serializer: S) -> Result<S::Ok, S::Error> {
    position.map(|position| position.to_string()).serialize(serializer)
}
