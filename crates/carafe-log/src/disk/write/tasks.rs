//! What the thread that rewrites segments does, when it is due, and when what has failed is tried
//! again.

use std::time::{Duration, Instant, SystemTime};

use crate::Erasures;
use crate::disk::options::DiskOptions;
use crate::disk::read::superseded::COMPACTED_TOPICS;

/// The time after which a task that has failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The maximum of this time, which doubles with each failure.
const LATEST: Duration = Duration::from_secs(600);

/// What the thread that rewrites segments does, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Lets a segment that was written again take the place of the old one, if that has failed.
    Replace,
    /// Removes erased content.
    Erase,
    /// Removes the content of superseded events.
    Compact,
}

impl Task {
    /// What a failure means, for the log of the program.
    pub(crate) fn failure(self) -> &'static str {
        match self {
            Self::Replace => "a segment that was written again cannot replace its old file now",
            Self::Erase => "erased events cannot be removed from the disk now",
            Self::Compact => "superseded events cannot be dropped now",
        }
    }
}

/// When a task that has failed is tried again.
#[derive(Clone, Copy)]
pub(crate) struct Retry {
    at: Option<Instant>,
    /// The time after the next failure.
    pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { at: None, pause: AGAIN }
    }
}

impl Retry {
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.at.is_none_or(|at| now >= at)
    }

    pub(crate) fn after_failure(self, now: Instant) -> Self {
        Self { at: Some(now + self.pause), pause: LATEST.min(self.pause * 2) }
    }
}

/// When erased content has to be removed, and what is compacted at most.
pub(crate) struct Limits {
    /// The time within which it has left the disk.
    pub(crate) within: Duration,
    /// The maximum number of erasures that wait.
    erasures: usize,
    /// The maximum number of topics that are compacted.
    pub(crate) topics: usize,
}

impl Limits {
    pub(crate) fn of(options: &DiskOptions) -> Self {
        let DiskOptions { erase_within, erasures, .. } = *options;
        Self { within: erase_within, erasures, topics: COMPACTED_TOPICS }
    }

    /// Whether erasures have to be carried out now. They wait for a while, so that one rewrite
    /// carries out many.
    pub(crate) fn are_due(&self, erasures: &Erasures, now: SystemTime) -> bool {
        let waited = erasures.since().map(|since| now.duration_since(since).unwrap_or_default());
        waited.is_some_and(|waited| waited >= self.within / 2)
            || erasures.len() >= self.erasures.div_ceil(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_fails_is_tried_again_later_and_later() {
        let (mut retry, mut now) = (Retry::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..12 {
            assert!(retry.is_due(now));
            retry = retry.after_failure(now);
            assert!(!retry.is_due(now));
            let at = retry.at.unwrap();
            pauses.push((at - now).as_secs());
            now = at;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
    }
}
