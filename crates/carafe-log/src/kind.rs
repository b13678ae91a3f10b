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
/// let event = Erase::Event { offset: 42, nonce: 0xbeef };
/// let erasure = Publication::erase(Topic::new("users/7")?, event);
/// assert_eq!(erasure.kind(), Kind::Erase(event));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Erase {
    /// All events of the topic before the erasure.
    Before,
    /// The event of the topic with this position. Another that has taken its place, after what puts
    /// events in order has lost it, stays.
    Event {
        /// The offset of the event.
        offset: Offset,
        /// The nonce of its position.
        nonce: u32,
    },
    /// The event with this offset, whatever its nonce is: earlier versions noted no more.
    One(Offset),
}

/// The nonce of an erased event, as it is written in the type of the erasure.
pub(crate) fn nonce_text(nonce: u32) -> String {
    format!("{nonce:08x}")
}

fn erased_event(offset: &str, nonce: Option<&str>) -> Erase {
    // `Publication::with_kind` wrote the number. No entry has the offset 0.
    let offset = offset.parse().unwrap_or(0);
    let nonce = nonce.and_then(|text| {
        let number = u32::from_str_radix(text, 16).ok()?;
        (nonce_text(number) == text).then_some(number)
    });
    nonce.map_or(Erase::One(offset), |nonce| Erase::Event { offset, nonce })
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

/// A kind in one byte. The offset of an erased event is in the data of its erasure, and the nonce
/// in the type, so that no other entry takes memory for it.
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
            Kind::Erase(Erase::One(_) | Erase::Event { .. }) => Self::EraseOne,
            Kind::Removed(Removed::Erased) => Self::Erased,
            Kind::Removed(Removed::Compacted) => Self::Compacted,
        }
    }

    /// The kind of a publication with this data and this type.
    pub(crate) fn kind(self, data: &str, event_type: Option<&str>) -> Kind {
        match self {
            Self::Event => Kind::Event,
            Self::Done => Kind::End(Outcome::Done),
            Self::Failed => Kind::End(Outcome::Failed),
            Self::Cancelled => Kind::End(Outcome::Cancelled),
            Self::Stop => Kind::Stop,
            Self::EraseBefore => Kind::Erase(Erase::Before),
            Self::EraseOne => Kind::Erase(erased_event(data, event_type)),
            Self::Erased => Kind::Removed(Removed::Erased),
            Self::Compacted => Kind::Removed(Removed::Compacted),
        }
    }
}
