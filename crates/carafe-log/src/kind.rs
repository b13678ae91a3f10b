//! What an entry of a log is.

use std::fmt;
use std::str::FromStr;

use carafe_protocol::Offset;

/// What an entry of a log is. Most entries are events.
///
/// ```
/// use carafe_log::{Kind, Outcome, Publication};
/// use carafe_protocol::Topic;
///
/// let topic = Topic::new("jobs/7")?;
/// assert_eq!(Publication::new(topic.clone(), "half done").kind(), Kind::Event);
/// assert_eq!(Publication::end(topic, Outcome::Done).kind(), Kind::End(Outcome::Done));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// An event.
    #[default]
    Event,
    /// The end of the canonical topic. Its data is the reason, and may be empty.
    End(Outcome),
    /// A request to the producer of the canonical topic that it stop. Its data is the reason, and
    /// may be empty.
    Stop,
    /// The erasure of earlier events of the canonical topic.
    Erase(Erase),
    /// What is left of an entry whose content is gone: its position, time, topics and privacy, and
    /// the external ID of a compacted event.
    Removed(Removed),
}

/// How a topic has ended.
///
/// ```
/// use carafe_log::Outcome;
///
/// assert_eq!("failed".parse(), Ok(Outcome::Failed));
/// assert_eq!(Outcome::Cancelled.to_string(), "cancelled");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The topic is complete.
    Done,
    /// The producer has failed.
    Failed,
    /// The producer was stopped.
    Cancelled,
}

/// Which events an erasure erases.
///
/// ```
/// use carafe_log::{Erase, Kind, Publication};
/// use carafe_protocol::Topic;
///
/// let one = Publication::erase(Topic::new("users/7")?, Erase::One(42));
/// assert_eq!(one.kind(), Kind::Erase(Erase::One(42)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Erase {
    /// All events of the topic before the erasure.
    Before,
    /// The event of the topic with this offset.
    One(Offset),
}

/// Why the content of an entry is gone.
///
/// ```
/// use carafe_log::Removed;
///
/// assert_ne!(Removed::Erased, Removed::Compacted);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Removed {
    /// An erasure has erased it.
    Erased,
    /// A newer event of its topic has replaced it.
    Compacted,
}

/// The text is not an outcome.
///
/// ```
/// use carafe_log::{BadOutcome, Outcome};
///
/// assert_eq!("finished".parse::<Outcome>(), Err(BadOutcome));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an outcome is `done`, `failed` or `cancelled`")]
pub struct BadOutcome;

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 3] = [Self::Done, Self::Failed, Self::Cancelled];

    /// The outcome as text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Outcome {
    type Err = BadOutcome;

    fn from_str(text: &str) -> Result<Self, BadOutcome> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text).ok_or(BadOutcome)
    }
}

/// A kind in one byte. The offset of [`Erase::One`] is in the data of its publication, so that no
/// other entry takes memory for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    Event,
    Done,
    Failed,
    Cancelled,
    Stop,
    EraseBefore,
    EraseOne,
    Erased,
    Compacted,
}

impl Tag {
    pub(crate) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Event => Self::Event,
            Kind::End(Outcome::Done) => Self::Done,
            Kind::End(Outcome::Failed) => Self::Failed,
            Kind::End(Outcome::Cancelled) => Self::Cancelled,
            Kind::Stop => Self::Stop,
            Kind::Erase(Erase::Before) => Self::EraseBefore,
            Kind::Erase(Erase::One(_)) => Self::EraseOne,
            Kind::Removed(Removed::Erased) => Self::Erased,
            Kind::Removed(Removed::Compacted) => Self::Compacted,
        }
    }

    /// The kind of a publication with this data.
    pub(crate) fn kind(self, data: &str) -> Kind {
        match self {
            Self::Event => Kind::Event,
            Self::Done => Kind::End(Outcome::Done),
            Self::Failed => Kind::End(Outcome::Failed),
            Self::Cancelled => Kind::End(Outcome::Cancelled),
            Self::Stop => Kind::Stop,
            Self::EraseBefore => Kind::Erase(Erase::Before),
            // `Publication::with_kind` wrote the number. No entry has the offset 0.
            Self::EraseOne => Kind::Erase(Erase::One(data.parse().unwrap_or(0))),
            Self::Erased => Kind::Removed(Removed::Erased),
            Self::Compacted => Kind::Removed(Removed::Compacted),
        }
    }
}
