//! The counters of a hub.
//!
//! Counters are independent of each other and order nothing, so they are relaxed atomics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use carafe_log::{Appended, Publication, Span};
use smallvec::SmallVec;

use crate::subscription::replay_permits::ReplayPermits;

/// What a hub has done since it started, and what it is doing now.
///
/// ```
/// use carafe_hub::Hub;
/// use carafe_log::MemoryLog;
///
/// let hub = Hub::new(MemoryLog::default());
/// assert_eq!(hub.counts().published, 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubCounts {
    /// Events that were stored.
    pub published: u64,
    /// Bytes of their data.
    pub published_bytes: u64,
    /// Publications that were not stored because their idempotency key was known.
    pub repeated: u64,
    /// Gaps that were reported to subscribers.
    pub gaps: u64,
    /// Subscriptions that are open.
    pub subscriptions: usize,
    /// Subscriptions that are reading the log.
    pub replays: usize,
    /// Subscriptions that wait for a permit to read the log.
    pub replays_waiting: usize,
    /// How often a subscription had to wait for a permit.
    pub replays_waited: u64,
    /// What the log holds.
    pub span: Span,
}

/// The counters behind [`HubCounts`].
#[derive(Default)]
pub(crate) struct Counts {
    published: AtomicU64,
    published_bytes: AtomicU64,
    repeated: AtomicU64,
    gaps: AtomicU64,
}

/// The bytes of data of each publication; `None` if it is no event.
pub(crate) fn data_sizes(batch: &[Publication]) -> SmallVec<[Option<usize>; 1]> {
    let size = |publication: &Publication| publication.is_event().then(|| publication.data().len());
    batch.iter().map(size).collect()
}

impl Counts {
    /// Counts the events of publications, given the bytes of data of each.
    pub(crate) fn add_published(&self, sizes: &[Option<usize>], appended: &[Appended]) {
        let (mut published, mut bytes, mut repeated) = (0, 0, 0);
        for (size, appended) in sizes.iter().zip(appended) {
            match size {
                Some(_) if appended.repeated => repeated += 1,
                Some(size) => (published, bytes) = (published + 1, bytes + *size as u64),
                None => {}
            }
        }
        self.published.fetch_add(published, Relaxed);
        self.published_bytes.fetch_add(bytes, Relaxed);
        self.repeated.fetch_add(repeated, Relaxed);
    }

    /// Counts a gap that was reported.
    pub(crate) fn add_gap(&self) {
        self.gaps.fetch_add(1, Relaxed);
    }

    pub(crate) fn snapshot(
        &self,
        subscriptions: usize,
        permits: &ReplayPermits,
        span: Span,
    ) -> HubCounts {
        let (reading, waiting) = permits.reading_and_waiting();
        HubCounts {
            published: self.published.load(Relaxed),
            published_bytes: self.published_bytes.load(Relaxed),
            repeated: self.repeated.load(Relaxed),
            gaps: self.gaps.load(Relaxed),
            subscriptions,
            replays: reading,
            replays_waiting: waiting,
            replays_waited: permits.waited(),
            span,
        }
    }
}
