//! The ages of segments: by the steady clock for segments that were written since the log was
//! opened, and by the times of their entries for older ones. In a log that is supplied, the times
//! of entries count alone: another node may fill its log at another moment, and trims alike.

use std::collections::BTreeMap;
use std::time::Duration;

use carafe_protocol::Offset;

use crate::clock_reading::{Reading, TOLERANCE, duration, nanos};

/// The minimum time between two removals of segments that are too old only by the wall clock.
pub(crate) const CAREFUL: Duration = Duration::from_secs(60);

const MILLISECOND: i64 = 1_000_000;

/// The times that are known of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// The offset before its first entry, which identifies the segment here.
    pub(crate) previous: Offset,
    /// The time of its newest entry, in milliseconds since 1970.
    pub(crate) newest: u64,
}

/// Whether a segment is older than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Kept,
    Aged,
    /// Too old only by the wall clock, by which it has this age.
    Doubtful(Duration),
}

/// The ages of the segments.
pub(crate) struct Ages {
    limit: Option<i64>,
    is_supplied: bool,
    opened: i64,
    /// The steady time of the newest entry of each segment that was written since the log was
    /// opened.
    taken: BTreeMap<Offset, i64>,
    /// The steady time before which no segment is removed that is too old only by the wall clock.
    careful_until: i64,
}

/// The minimum age, and the age if the wall clock is right, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Age {
    certain: i64,
    estimated: i64,
}

impl Age {
    fn at_least(self, age: i64) -> Self {
        Self { certain: self.certain.max(age), estimated: self.estimated.max(age) }
    }
}

impl Ages {
    pub(crate) fn new(limit: Option<Duration>, is_supplied: bool, now: Reading) -> Self {
        let careful_until = now.steady.saturating_add(nanos(CAREFUL));
        let (limit, opened, taken) = (limit.map(nanos), now.steady, BTreeMap::new());
        Self { limit, is_supplied, opened, taken, careful_until }
    }

    /// Records that a segment has stored entries. Entries of another node may be old already.
    pub(crate) fn take(&mut self, segment: Seen, now: Reading) {
        if self.is_supplied {
            return;
        }
        // A time in the future counts as now.
        let old = now.time.saturating_sub(time_of(segment)).max(0);
        self.taken.insert(segment.previous, now.steady.saturating_sub(old));
    }

    /// Judges the first of these segments. The others follow it in order, up to the newest. In a
    /// log that is supplied, what is newer than `settled_up_to` (in milliseconds) is kept. No other
    /// log asks for it.
    pub(crate) fn judge(
        &self,
        mut segments: impl Iterator<Item = Seen>,
        now: Reading,
        settled_up_to: impl FnOnce() -> u64,
    ) -> Verdict {
        let (Some(limit), Some(first)) = (self.limit, segments.next()) else {
            return Verdict::Kept;
        };
        if self.is_supplied && first.newest > settled_up_to() {
            return Verdict::Kept;
        }
        let age = self.age_of(first, now).unwrap_or_else(|| {
            // Its time is in the future, so its age is unknown. It is at least that of a later
            // segment.
            // A later segment was written later, so it is younger or equal: its age is a lower
            // bound.
            let later = segments.find_map(|segment| self.age_of(segment, now)).unwrap_or_default();
            later.at_least(self.uptime(now))
        });
        match age {
            Age { certain, .. } if certain > limit => Verdict::Aged,
            Age { estimated, .. }
                // One segment per minute, so that an operator can stop the hub if the clock is
                // wrong.
                if estimated > limit && now.agrees && now.steady >= self.careful_until =>
            {
                Verdict::Doubtful(duration(estimated))
            }
            _ => Verdict::Kept,
        }
    }

    /// Forgets a removed segment.
    pub(crate) fn forget(&mut self, segment: Offset, verdict: Verdict, now: Reading) {
        self.taken.remove(&segment);
        if matches!(verdict, Verdict::Doubtful(_)) {
            self.careful_until = now.steady.saturating_add(nanos(CAREFUL));
        }
    }

    fn age_of(&self, segment: Seen, now: Reading) -> Option<Age> {
        if let Some(at) = self.taken.get(&segment.previous) {
            let age = now.steady.saturating_sub(*at);
            return Some(Age { certain: age, estimated: age });
        }
        let estimated = now.time.saturating_sub(time_of(segment));
        let age = Age { certain: estimated.saturating_sub(now.doubt), estimated };
        (estimated >= -nanos(TOLERANCE)).then(|| age.at_least(self.uptime(now)))
    }

    /// The minimum age of an entry that was stored before the log was opened, which is known only
    /// of a log that stores entries when they arise.
    fn uptime(&self, now: Reading) -> i64 {
        if self.is_supplied { 0 } else { now.steady.saturating_sub(self.opened) }
    }
}

fn time_of(segment: Seen) -> i64 {
    i64::try_from(segment.newest).unwrap_or(i64::MAX).saturating_mul(MILLISECOND)
}
