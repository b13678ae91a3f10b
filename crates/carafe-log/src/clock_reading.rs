//! What a clock says at one moment, and how far it is trusted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::codec::milliseconds;

/// The maximum difference between the wall clock and the log's time that does not count as a jump.
pub(crate) const TOLERANCE: Duration = Duration::from_secs(60);

/// A jump that lasts this long is believed.
pub(crate) const TRUST: Duration = Duration::from_secs(60 * 60);

/// The clock at one moment, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// On the monotonic clock.
    pub(crate) steady: i64,
    /// The log's time since 1970.
    pub(crate) time: i64,
    /// The part of the time since the newest entry at opening that only the wall clock vouches for:
    /// no monotonic clock measured it.
    pub(crate) doubt: i64,
    /// Whether the wall clock agrees with the log's time.
    pub(crate) agrees: bool,
}

impl Reading {
    pub(crate) fn time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(milliseconds(duration(self.time)))
    }
}

pub(crate) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

pub(crate) fn duration(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}
