//! What a stream reports before its next event: its position, and a gap.

use carafe_protocol::Position;

use crate::gap::Gap;
use crate::subscription::origin::Origin;

/// What a stream reports before its next event. `position_due` is set until the stream has reported
/// its position.
#[derive(Debug)]
pub(super) enum Opening {
    /// The stream delivers events.
    Live { position_due: bool },
    /// The stream has delivered no event yet, and begins with what there is of history. Entries
    /// that are no longer shown are no gap.
    FromHistory { position_due: bool },
    /// The stream delivers a snapshot. Its position comes after it: a client that loses its
    /// connection before has no ID, and asks for the snapshot again.
    Snapshot,
    /// A gap has to be reported, before the position.
    Gap { gap: Box<Gap>, position_due: bool },
    /// A gap is not reported yet, since the next entries may belong to it too.
    GrowingGap(Box<Gap>),
}

impl Opening {
    pub(super) fn of(origin: Origin, position_due: bool) -> Self {
        match origin {
            Origin::Tail(_) | Origin::After(_) => Self::Live { position_due },
            Origin::History(_) => Self::FromHistory { position_due },
            Origin::Gap(gap) => Self::Gap { gap: Box::new(gap), position_due },
            Origin::Snapshot(_) => Self::Snapshot,
        }
    }

    /// A stream that begins with a snapshot, or with a gap and then a snapshot.
    pub(super) fn before_snapshot(gap: Option<Box<Gap>>) -> Self {
        gap.map_or(Self::Snapshot, |gap| Self::Gap { gap, position_due: false })
    }

    /// A stream whose snapshot is complete.
    pub(super) fn after_snapshot() -> Self {
        Self::Live { position_due: true }
    }

    /// A stream that only delivers events.
    pub(super) fn done() -> Self {
        Self::Live { position_due: false }
    }

    /// Whether nothing is to be reported or searched before the next event.
    pub(super) fn is_done(&self) -> bool {
        matches!(
            self,
            Self::Live { position_due: false } | Self::FromHistory { position_due: false }
        )
    }

    pub(super) fn is_snapshot(&self) -> bool {
        matches!(self, Self::Snapshot)
    }

    pub(super) fn has_gap(&self) -> bool {
        matches!(self, Self::Gap { .. } | Self::GrowingGap(_))
    }

    pub(super) fn is_growing_gap(&self) -> bool {
        matches!(self, Self::GrowingGap(_))
    }

    /// The gap that has to be reported now.
    pub(super) fn take_gap(&mut self) -> Option<Box<Gap>> {
        let Self::Gap { position_due, .. } = *self else { return None };
        match std::mem::replace(self, Self::Live { position_due }) {
            Self::Gap { gap, .. } => Some(gap),
            _ => None,
        }
    }

    /// Whether the position has to be reported now.
    pub(super) fn take_position_due(&mut self) -> bool {
        match self {
            Self::Live { position_due } | Self::FromHistory { position_due } => {
                std::mem::take(position_due)
            }
            Self::Snapshot | Self::Gap { .. } | Self::GrowingGap(_) => false,
        }
    }

    /// The stream has delivered an event, or has caught up.
    pub(super) fn leave_history(&mut self) {
        if let Self::FromHistory { position_due } = *self {
            *self = Self::Live { position_due };
        }
    }

    /// An entry up to `resume_after` is no longer shown: a gap, unless the stream begins with
    /// history.
    pub(super) fn grow_gap(&mut self, new_gap: impl FnOnce() -> Gap, resume_after: Position) {
        let mut gap = match std::mem::replace(self, Self::done()) {
            // `last=N` and `earliest` ask for what there is. Nothing that the client knows of is
            // missing.
            history @ Self::FromHistory { .. } => return *self = history,
            // Not reported yet: both gaps become one, which begins where the first did.
            Self::Gap { gap, .. } | Self::GrowingGap(gap) => gap,
            Self::Live { .. } | Self::Snapshot => Box::new(new_gap()),
        };
        gap.resume_after = resume_after;
        *self = Self::GrowingGap(gap);
    }

    /// The gap is complete and has to be reported. Returns the position after which the stream
    /// resumes.
    pub(super) fn finish_gap(&mut self) -> Option<Position> {
        match std::mem::replace(self, Self::done()) {
            Self::GrowingGap(gap) => {
                let resume_after = gap.resume_after;
                *self = Self::Gap { gap, position_due: false };
                Some(resume_after)
            }
            other => {
                *self = other;
                None
            }
        }
    }

    /// The ID after which a growing gap begins.
    pub(super) fn growing_gap_requested(&self) -> Option<&str> {
        match self {
            Self::GrowingGap(gap) => Some(&gap.requested),
            _ => None,
        }
    }
}
