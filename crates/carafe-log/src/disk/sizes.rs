//! The sizes of segments and commits, derived from the limits of the history.

use crate::disk::options::DiskOptions;

/// The history has at least this many segments, unless their size is set. It is trimmed by whole
/// segments, so few segments make it coarse.
const SEGMENTS: u64 = 32;

/// A segment that is larger than the history divided by this keeps the history far below its limit.
const COARSE: u64 = 8;

const SMALLEST: u64 = 4 << 10;
const LARGEST: u64 = 64 << 20;

/// The maximum number of bytes of entries in one commit, unless a single batch has more.
const COMMIT: usize = 16 << 20;

/// The minimum number of entries after which a segment ends, if the number of entries is limited.
const FEWEST: u64 = 256;

impl DiskOptions {
    /// The size of a segment in bytes: `segment_bytes` if it is set, or a 32nd of `bytes`, from 4
    /// KiB to 64 MiB. A batch that is larger gets a segment of its own.
    #[must_use]
    pub fn segment_size(&self) -> u32 {
        let derived = (self.bytes / SEGMENTS).clamp(SMALLEST, LARGEST);
        self.segment_bytes.unwrap_or_else(|| u32::try_from(derived).unwrap_or(u32::MAX))
    }

    /// The approximate maximum number of files that the log has open, if batches are small.
    #[must_use]
    pub fn files(&self) -> u64 {
        // Up to a quarter of each segment stays unused at its end.
        let by_size = self.bytes / u64::from(self.segment_size());
        by_size + by_size / 3 + COARSE + self.readers as u64
    }

    /// The number of entries after which a segment ends.
    pub(crate) fn segment_entries(&self) -> u64 {
        (self.entries / COARSE).max(FEWEST)
    }

    /// The maximum number of bytes of entries in one commit. It is small enough that little space
    /// is unused at the end of a segment.
    pub(crate) fn commit_bytes(&self) -> usize {
        COMMIT.min(self.segment_size() as usize / 4)
    }

    /// Whether segments are so large that the log stays far below its limit of bytes.
    pub(crate) fn too_coarse(&self) -> bool {
        u64::from(self.segment_size()) > self.bytes / COARSE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keeping(bytes: u64) -> DiskOptions {
        DiskOptions { bytes, ..DiskOptions::default() }
    }

    #[test]
    fn a_segment_is_a_32nd_of_the_history_within_bounds() {
        let sizes = [1 << 10, 1 << 20, 10 << 20, 64 << 20, 16 << 30]
            .map(|bytes| keeping(bytes).segment_size());
        assert_eq!(sizes, [4 << 10, 32 << 10, 320 << 10, 2 << 20, 64 << 20]);
    }

    #[test]
    fn a_segment_size_that_is_set_is_taken_and_may_be_too_coarse() {
        let set = DiskOptions { segment_bytes: Some(64 << 20), ..keeping(64 << 20) };
        assert_eq!((set.segment_size(), set.too_coarse()), (64 << 20, true));
        assert!(!keeping(64 << 20).too_coarse());
        assert!(keeping(16 << 10).too_coarse(), "there is a smallest segment");
    }
}
